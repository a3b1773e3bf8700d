//! The map as a drawing: writers on the left, cached functions on the right, and who drops what between them.

use cache_core::map::{CachedFunction, How, Map, Writer};

use crate::{functions::FunctionRow, text};

const MARGIN: usize = 8;
/// Of the line with the columns' names.
const HEAD: usize = 28;
const WRITER: usize = 280;
const BETWEEN: usize = 240;
const FUNCTION: usize = 290;
const GAP: usize = 14;
/// Between two edges at one box.
const PORT: usize = 19;
const LEAST: usize = 50;
/// As many letters as a box has room for.
const LETTERS: usize = 32;
/// And where it is marked as an orphan.
const LETTERS_OF_ORPHAN: usize = 25;

pub(crate) struct Drawing {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Where the functions' column begins.
    pub(crate) right: usize,
    pub(crate) writers: Vec<WriterBox>,
    pub(crate) functions: Vec<FunctionBox>,
}

pub(crate) struct WriterBox {
    pub(crate) area: Area,
    pub(crate) name: String,
    pub(crate) full: String,
    pub(crate) place: String,
    pub(crate) edges: Vec<Edge>,
}

pub(crate) struct FunctionBox {
    pub(crate) area: Area,
    pub(crate) name: String,
    pub(crate) full: String,
    pub(crate) prefix: String,
    pub(crate) numbers: String,
    pub(crate) is_orphan: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Area {
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

pub(crate) struct Edge {
    pub(crate) how: &'static str,
    /// What it is, in words.
    pub(crate) title: String,
    pub(crate) path: String,
    pub(crate) label: (usize, usize),
}

/// From a writer to a function, by their places in the map.
struct Link {
    writer: usize,
    function: usize,
    how: How,
    targets: Vec<String>,
}

impl Area {
    /// The line on which its text stands, so far down.
    pub(crate) fn line(&self, down: usize) -> usize {
        self.y + down
    }

    pub(crate) fn text_x(&self) -> usize {
        self.x + 12
    }

    /// Where the edge number `of` so many meets its side.
    fn port(&self, number: usize, of: usize) -> usize {
        self.y + self.height / 2 + PORT * number - PORT * of.saturating_sub(1) / 2
    }
}

/// Draws the map with the numbers of its functions.
pub(crate) fn draw(map: &Map, rows: &[FunctionRow]) -> Drawing {
    let links = links(map);
    let (writers, functions) = in_order(map, &links);
    let ports_of_writer = |writer: &usize| links.iter().filter(|link| link.writer == *writer).count();
    let ports_of_function = |function: &usize| links.iter().filter(|link| link.function == *function).count();
    let right = MARGIN + WRITER + BETWEEN;
    let (left_areas, left_height) = column(&writers, MARGIN, WRITER, ports_of_writer);
    let (right_areas, right_height) = column(&functions, right, FUNCTION, ports_of_function);
    let writer_areas = centred(left_areas, left_height, right_height);
    let function_areas = centred(right_areas, right_height, left_height);
    let edges = edges(map, &links, (&writers, &writer_areas), (&functions, &function_areas));
    let writer_boxes = writers.iter().zip(&writer_areas).zip(edges);
    Drawing {
        width: right + FUNCTION + MARGIN,
        height: HEAD + left_height.max(right_height) + MARGIN,
        right,
        writers: writer_boxes.map(|((at, area), edges)| writer_box(&map.writers[*at], *area, edges)).collect(),
        functions: functions
            .iter()
            .zip(&function_areas)
            .map(|(at, area)| function_box(&map.functions[*at], *area, rows, ports_of_function(at) == 0))
            .collect(),
    }
}

/// Each writer and function once for each way.
fn links(map: &Map) -> Vec<Link> {
    let mut links: Vec<Link> = Vec::new();
    for (writer, drops) in map.writers.iter().enumerate().flat_map(|(at, one)| one.drops.iter().map(move |d| (at, d))) {
        let hit = |function: &CachedFunction| drops.hits.contains(&function.prefix);
        for (function, _) in map.functions.iter().enumerate().filter(|(_, function)| hit(function)) {
            let same = |link: &&mut Link| (link.writer, link.function, link.how) == (writer, function, drops.how);
            match links.iter_mut().find(same) {
                Some(link) => link.targets.push(drops.target.clone()),
                None => links.push(Link { writer, function, how: drops.how, targets: vec![drops.target.clone()] }),
            }
        }
    }
    links
}

/// The order from top to bottom in which few edges cross: each box near the middle of those that it is tied to. Orphans come last.
fn in_order(map: &Map, links: &[Link]) -> (Vec<usize>, Vec<usize>) {
    let mut writers: Vec<usize> = (0..map.writers.len()).collect();
    let mut functions: Vec<usize> = (0..map.functions.len()).collect();
    for _ in 0..4 {
        let own = |function| links.iter().filter(move |link| link.function == function).map(|link| link.writer);
        sort_by_middle(&mut functions, &writers, own);
        let own = |writer| links.iter().filter(move |link| link.writer == writer).map(|link| link.function);
        sort_by_middle(&mut writers, &functions, own);
    }
    (writers, functions)
}

fn sort_by_middle<I: Iterator<Item = usize>>(boxes: &mut [usize], others: &[usize], tied: impl Fn(usize) -> I) {
    let middle = |one: usize| {
        let places = tied(one).filter_map(|other| others.iter().position(|at| *at == other));
        let (sum, number) = places.fold((0, 0), |(sum, number), place| (sum + place, number + 1));
        // In thousandths: it is to be compared, not drawn.
        (1_000 * sum).checked_div(number).unwrap_or(usize::MAX)
    };
    boxes.sort_by_cached_key(|one| middle(*one));
}

fn column(boxes: &[usize], x: usize, width: usize, ports: impl Fn(&usize) -> usize) -> (Vec<Area>, usize) {
    let mut areas = Vec::with_capacity(boxes.len());
    let mut y = HEAD;
    for one in boxes {
        let height = LEAST.max(PORT * ports(one) + 8);
        areas.push(Area { x, y, width, height });
        y += height + GAP;
    }
    (areas, (y - HEAD).saturating_sub(GAP))
}

fn centred(mut areas: Vec<Area>, height: usize, other: usize) -> Vec<Area> {
    for area in &mut areas {
        area.y += other.saturating_sub(height) / 2;
    }
    areas
}

/// The edges of each writer, in the order of the writers.
fn edges(
    map: &Map,
    links: &[Link],
    (writers, writer_areas): (&[usize], &[Area]),
    (functions, function_areas): (&[usize], &[Area]),
) -> Vec<Vec<Edge>> {
    let place = |all: &[usize], one: usize| all.iter().position(|at| *at == one).unwrap_or_default();
    let edges_of = |writer: &usize| {
        let mut own: Vec<_> = links.iter().filter(|link| link.writer == *writer).collect();
        own.sort_by_key(|link| (place(functions, link.function), link.how));
        let from = writer_areas[place(writers, *writer)];
        let number = own.len();
        let edge = |(port, link): (usize, &&Link)| {
            let mut into: Vec<_> = links.iter().filter(|other| other.function == link.function).collect();
            into.sort_by_key(|other| (place(writers, other.writer), other.how));
            let at = into.iter().position(|other| std::ptr::eq(*other, *link)).unwrap_or_default();
            let to = function_areas[place(functions, link.function)];
            curve(map, link, (&from, from.port(port, number)), (&to, to.port(at, into.len())))
        };
        own.iter().enumerate().map(edge).collect()
    };
    writers.iter().map(edges_of).collect()
}

fn curve(map: &Map, link: &Link, (from, y): (&Area, usize), (to, end): (&Area, usize)) -> Edge {
    let x = from.x + from.width;
    let (writer, function) = (&map.writers[link.writer], &map.functions[link.function]);
    // Straight below its label, then round to the function.
    let begin = x + 52;
    let middle = usize::midpoint(begin, to.x);
    Edge {
        how: link.how.as_str(),
        title: format!(
            "{} drops {} by {}: {}",
            path(&writer.function),
            function.prefix,
            link.how,
            link.targets.join(", ")
        ),
        path: format!("M{x} {y}H{begin}C{middle} {y} {middle} {end} {} {end}", to.x),
        label: (x + 8, y + 4),
    }
}

fn writer_box(writer: &Writer, area: Area, edges: Vec<Edge>) -> WriterBox {
    let full = path(&writer.function);
    WriterBox {
        area,
        name: text::shortened(&short(&writer.function), LETTERS),
        full,
        place: text::shortened(&end_of_path(&writer.file, writer.line), LETTERS),
        edges,
    }
}

fn function_box(function: &CachedFunction, area: Area, rows: &[FunctionRow], is_orphan: bool) -> FunctionBox {
    let row = rows.iter().find(|row| row.name == function.prefix);
    let ttl = text::shortened(function.ttl.trim_matches('"'), 14);
    let numbers = match row.and_then(|row| row.hit_rate.map(|rate| (row, rate))) {
        Some((row, rate)) => {
            let calls = text::short((row.hits + row.misses) as f64);
            format!("{ttl} · {} hits of {calls} calls", text::percent(rate))
        }
        None => format!("{ttl} · not called yet"),
    };
    FunctionBox {
        area,
        name: text::shortened(&function.prefix, if is_orphan { LETTERS_OF_ORPHAN } else { LETTERS }),
        full: path(&function.function),
        prefix: function.prefix.clone(),
        numbers,
        is_orphan,
    }
}

pub(crate) fn path(function: &str) -> String {
    function.replace('.', "::")
}

/// Type and name, or module and name.
fn short(function: &str) -> String {
    let mut names: Vec<_> = function.rsplit('.').take(2).collect();
    names.reverse();
    names.join("::")
}

/// The file's name with the folder that it is in.
fn end_of_path(file: &str, line: u32) -> String {
    let mut names: Vec<_> = file.rsplit('/').take(2).collect();
    names.reverse();
    format!("{}:{line}", names.join("/"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// So many functions and writers; the last function is an orphan.
    fn map_of(functions: usize, writers: usize) -> Map {
        let drops = |writer: usize| {
            let hits = (0..=writer % 5).map(|step| (writer + step * step) % (functions - 1));
            let kinds = ["entry", "node", "tag", "glob"];
            let drop =
                |function| json!({ "how": kinds[function % 4], "target": "t", "hits": [format!("f{function}")] });
            hits.map(drop).collect::<Vec<_>>()
        };
        let place = |line: usize| ("src/service.rs", line);
        let functions: Vec<_> = (0..functions)
            .map(|at| {
                let (file, line) = place(at);
                json!({ "prefix": format!("f{at}"), "function": format!("shop.Shop.f{at}"), "ttl": "15m", "tags": [],
                        "file": file, "line": line })
            })
            .collect();
        let writers: Vec<_> = (0..writers)
            .map(|at| {
                let (file, line) = place(at);
                json!({ "function": format!("shop.Shop.w{at}"), "file": file, "line": line, "drops": drops(at) })
            })
            .collect();
        serde_json::from_value(json!({ "functions": functions, "writers": writers })).expect("a map")
    }

    fn apart(areas: impl Iterator<Item = Area>) {
        let mut areas: Vec<_> = areas.collect();
        areas.sort_by_key(|area| area.y);
        assert!(areas.windows(2).all(|pair| pair[0].y + pair[0].height < pair[1].y), "{areas:?}");
    }

    #[test]
    fn boxes_are_apart_and_edges_end_at_them() {
        for (functions, writers) in [(2, 1), (20, 14), (5, 40), (60, 3)] {
            let map = map_of(functions, writers);
            let drawing = draw(&map, &[]);
            apart(drawing.writers.iter().map(|one| one.area));
            apart(drawing.functions.iter().map(|one| one.area));
            assert_eq!((drawing.writers.len(), drawing.functions.len()), (writers, functions));
            for writer in &drawing.writers {
                let mut labels: Vec<_> = writer.edges.iter().map(|edge| edge.label.1).collect();
                labels.sort_unstable();
                assert!(labels.windows(2).all(|pair| pair[1] - pair[0] >= PORT), "labels are apart: {labels:?}");
                for edge in &writer.edges {
                    let area = writer.area;
                    assert!(edge.label.1 > area.y && edge.label.1 < area.y + area.height, "{}", edge.title);
                    let end: usize = edge.path.rsplit(' ').next().and_then(|y| y.parse().ok()).expect("a number");
                    let ends_at_one = |one: &FunctionBox| end > one.area.y && end < one.area.y + one.area.height;
                    assert!(drawing.functions.iter().any(ends_at_one), "{}", edge.path);
                }
            }
            let lowest = drawing.writers.iter().map(|one| one.area).chain(drawing.functions.iter().map(|one| one.area));
            assert!(lowest.into_iter().all(|area| area.y + area.height <= drawing.height));
        }
    }

    #[test]
    fn orphans_are_marked_and_come_last() {
        let drawing = draw(&map_of(20, 30), &[]);
        let (last, others) = drawing.functions.split_last().expect("there are some");
        assert!(last.is_orphan && last.prefix == "f19");
        assert!(others.iter().all(|function| !function.is_orphan));
        assert!(draw(&Map::default(), &[]).functions.is_empty());
    }
}
