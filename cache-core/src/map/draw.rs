//! The map as text, and as a drawing for Mermaid and Graphviz.

use std::fmt::{self, Write as _};

use super::{Drops, How, Map};

impl How {
    /// As it stands in drawings and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::Node => "node",
            Self::Tag => "tag",
            Self::Glob => "glob",
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One line for each function, and below it one for each that drops its entries; then what hits nothing.
impl fmt::Display for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for function in &self.functions {
            let tags = function.tags.iter().map(|tag| format!("#{tag}")).collect::<Vec<_>>().join(" ");
            writeln!(f, "{}  {}  {}", function.prefix, function.ttl, tags)?;
            let mut is_orphan = true;
            for (writer, Drops { how, target, .. }) in self.dropped_by(&function.prefix) {
                is_orphan = false;
                writeln!(f, "  {how:<5} {}  {target}", path(&writer.function))?;
            }
            if is_orphan {
                writeln!(f, "  orphan: nobody drops it ({}:{})", function.file, function.line)?;
            }
        }
        for (writer, Drops { how, target, .. }) in self.idle() {
            writeln!(f, "{how} {target} of {} hits nothing ({}:{})", path(&writer.function), writer.file, writer.line)?;
        }
        Ok(())
    }
}

impl Map {
    /// A flow chart in the language of Mermaid: writers to the left, cached functions to the right; orphans in red.
    pub fn to_mermaid(&self) -> String {
        let mut out = String::from("flowchart LR\n");
        for (number, writer) in self.writers.iter().enumerate() {
            line(&mut out, format_args!("  w{number}([\"{}\"])", for_mermaid(&short(&writer.function))));
        }
        for (number, function) in self.functions.iter().enumerate() {
            let label = format!("{}<br/>{}", for_mermaid(&function.prefix), for_mermaid(&function.ttl));
            line(&mut out, format_args!("  f{number}[\"{label}\"]"));
        }
        self.edges(|from, to, how| line(&mut out, format_args!("  w{from} -->|{how}| f{to}")));
        let orphans: Vec<_> = self.numbers_of_orphans().map(|number| format!("f{number}")).collect();
        if !orphans.is_empty() {
            line(&mut out, format_args!("  classDef orphan stroke:#c00,stroke-dasharray:4"));
            line(&mut out, format_args!("  class {} orphan", orphans.join(",")));
        }
        out
    }

    /// A graph in the language of Graphviz.
    pub fn to_dot(&self) -> String {
        let mut out = String::from("digraph invalidations {\n  rankdir=LR;\n");
        for (number, writer) in self.writers.iter().enumerate() {
            line(&mut out, format_args!("  w{number} [shape=oval, label={:?}];", short(&writer.function)));
        }
        let orphans: Vec<_> = self.numbers_of_orphans().collect();
        for (number, function) in self.functions.iter().enumerate() {
            let colour = if orphans.contains(&number) { ", color=red, style=dashed" } else { "" };
            let label = format!("{}\n{}", function.prefix, function.ttl);
            line(&mut out, format_args!("  f{number} [shape=box, label={label:?}{colour}];"));
        }
        self.edges(|from, to, how| line(&mut out, format_args!("  w{from} -> f{to} [label={how:?}];")));
        out.push_str("}\n");
        out
    }

    fn numbers_of_orphans(&self) -> impl Iterator<Item = usize> {
        let all = self.functions.iter().enumerate();
        all.filter(|(_, function)| self.dropped_by(&function.prefix).next().is_none()).map(|(number, _)| number)
    }

    /// Each pair of a writer and a function once, with all the ways.
    fn edges(&self, mut draw: impl FnMut(usize, usize, &str)) {
        for (from, writer) in self.writers.iter().enumerate() {
            for (to, function) in self.functions.iter().enumerate() {
                let hits = writer.drops.iter().filter(|drops| drops.hits.contains(&function.prefix));
                let mut ways: Vec<How> = hits.map(|drops| drops.how).collect();
                ways.sort_unstable();
                ways.dedup();
                if !ways.is_empty() {
                    draw(from, to, &ways.into_iter().map(How::as_str).collect::<Vec<_>>().join(", "));
                }
            }
        }
    }
}

fn line(out: &mut String, line: fmt::Arguments<'_>) {
    writeln!(out, "{line}").expect("writing to a String succeeds");
}

fn path(function: &str) -> String {
    function.replace('.', "::")
}

/// Type and name, or module and name.
fn short(function: &str) -> String {
    let mut names: Vec<_> = function.rsplit('.').take(2).collect();
    names.reverse();
    names.join("::")
}

/// Mermaid reads entities, and `#` begins one.
fn for_mermaid(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '#' | '<' | '>' | '&' => write!(out, "#{};", u32::from(c)).expect("writing to a String succeeds"),
            c => out.push(c),
        }
    }
    out
}
