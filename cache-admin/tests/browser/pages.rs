//! What operators do with it.

use std::time::Duration;

use cache_core::Key;
use test_support::{RedisServer, browser::Pressed};

use crate::{Browser, Device, Service, browser_of, serve};

/// A function that no writer drops: the orphan of this program's map.
mod orphan {
    use staleproof::{Cache, cached};

    pub(super) struct Settings {
        pub(super) cache: Cache,
    }

    impl Settings {
        #[cached(ttl = "1d", key_prefix = "settings")]
        pub(super) async fn settings(&self) -> u32 {
            7
        }
    }
}

/// Calls the service until it is dropped.
struct Load(tokio::task::JoinHandle<()>);

impl Load {
    fn on(service: &Service) -> Self {
        let service = service.clone();
        Self(tokio::spawn(async move {
            for number in 0_u32.. {
                service.page(number % 3, number % 50).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn charts_move_under_load() {
    let redis = RedisServer::start();
    let service = Service::over(&redis).await;
    let listening = serve(&service).await;
    let browser = browser_of("reader", &listening, Device::Desktop).await;
    browser.goto(&listening.admin("overview")).await;
    assert!(browser.page().await.contains("127.0.0.1"), "the server is shown");
    // Lost if the page were loaded again as a whole.
    browser.script("window.same = true;").await;
    let load = Load::on(&service);
    let line =
        |chart: &str| format!("return document.querySelector('#chart-{chart} path.line').getAttribute('d') || null");
    let mut before = Vec::new();
    for chart in ["hit-rate", "calls", "latency"] {
        before.push((chart, browser.wait_for(&line(chart)).await));
    }
    for (chart, before) in before {
        let script = format!("const d = (() => {{ {} }})(); return d !== {before} && d", line(chart));
        browser.wait_for(&script).await;
    }
    browser.wait_for("return /Hits\\s+[1-9]/.test(document.getElementById('facts').innerText)").await;
    assert_eq!(browser.script("return window.same").await, true, "only its live parts were exchanged");

    browser.click("#pause").await;
    let paused = browser.script(&line("calls")).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(browser.script(&line("calls")).await, paused, "nothing moves while it is paused");
    drop(load);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_invalidated_from_the_page_and_the_next_call_misses() {
    let redis = RedisServer::start();
    let service = Service::over(&redis).await;
    let listening = serve(&service).await;
    for (owner, page) in [(7, 1), (7, 2), (8, 1)] {
        service.page(owner, page).await;
    }
    let browser = browser_of("writer", &listening, Device::Desktop).await;
    browser.goto(&listening.admin("overview")).await;
    browser.click("nav a[href='invalidate']").await;
    browser.click("input[value='node']").await;
    browser.write("#target", "page:7").await;
    browser.click("form[method='get'] button").await;
    assert_eq!(browser.text("#hits").await, "It would hit 2 entries.");
    service.page(7, 1).await;
    assert_eq!(service.asked(), 3, "the preview has dropped nothing");

    browser.click("#preview button").await;
    let done = browser.text("#done").await;
    assert!(done.starts_with("Invalidated page:7:.."), "{done}");
    service.page(8, 1).await;
    assert_eq!(service.asked(), 3, "what is not below the node is still there");
    service.page(7, 1).await;
    assert_eq!(service.asked(), 4, "the next call misses");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_found_looked_at_and_invalidated_on_a_phone() {
    let redis = RedisServer::start();
    let service = Service::over(&redis).await;
    let listening = serve(&service).await;
    for page in 0..5 {
        service.page(7, page).await;
    }
    let browser = browser_of("writer", &listening, Device::Phone).await;
    browser.goto(&listening.admin("keys")).await;
    browser.write("#match", "page:7:3").await;
    browser.click(".search button").await;
    browser.wait_for("return document.querySelectorAll('#keys a').length === 1").await;
    browser.click("#keys a").await;
    assert!(browser.text("#value").await.contains('3'));
    browser.click("a.danger").await;
    assert_eq!(browser.text("#hits").await, "It would hit 1 entry.");
    browser.click("#preview button").await;
    browser.find("#done").await;
    for page in 0..5 {
        service.page(7, page).await;
    }
    assert_eq!(service.asked(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_map_shows_the_orphan_and_live_numbers() {
    let service = Service::in_memory();
    let listening = serve(&service).await;
    let browser = browser_of("reader", &listening, Device::Desktop).await;
    browser.goto(&listening.admin("map")).await;
    let orphans =
        browser.script("return [...document.querySelectorAll('#map .orphan')].map(g => g.dataset.prefix)").await;
    assert_eq!(orphans, serde_json::json!(["settings"]));
    assert_eq!(browser.text("#map .orphan .mark").await, "orphan");
    assert!(browser.text(".warn-text").await.contains("1 function is an orphan"));
    let drawn =
        browser.script("return [...document.querySelectorAll('#map text.how')].map(t => t.textContent).sort()").await;
    assert_eq!(drawn, serde_json::json!(["entry", "glob", "node", "tag"]));

    let settings = orphan::Settings { cache: service.cache.clone() };
    for _ in 0..4 {
        settings.settings().await;
    }
    browser
        .wait_for("return document.querySelector('#map .orphan').textContent.includes('75\\u00a0% hits of 4 calls')")
        .await;
    browser.goto(&listening.admin("functions")).await;
    browser.wait_for("return document.querySelector('#functions tr').textContent.includes('orphan')").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_comes_and_goes_on_an_open_page() {
    let mut redis = RedisServer::start();
    let service = Service::over(&redis).await;
    let listening = serve(&service).await;
    let browser = browser_of("reader", &listening, Device::Desktop).await;
    browser.goto(&listening.admin("overview")).await;
    assert_eq!(browser.text("#state").await, "connected");
    redis.kill();
    browser.wait_for("return document.getElementById('trouble').innerText.includes('out of reach for')").await;
    assert_eq!(browser.text("#state").await, "degraded");
    redis.restart();
    browser.wait_for("return document.getElementById('trouble').innerText.trim() === ''").await;
    assert_eq!(browser.text("#state").await, "connected");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_appear_as_they_happen() {
    let service = Service::in_memory();
    let listening = serve(&service).await;
    let browser = browser_of("reader", &listening, Device::Desktop).await;
    browser.goto(&listening.admin("events")).await;
    browser.wait_for("return document.getElementById('events-state').textContent === 'live'").await;
    service.page(7, 1).await;
    service.change(7).await;
    service.rename("anybody".to_owned()).await;
    let shown = "const text = document.getElementById('events').innerText; \
                 return text.includes('glob profile:*') && text.includes('page:7:1') && text";
    let shown = browser.wait_for(shown).await;
    for word in ["miss", "loaded", "filled", "page:7:.., tag owner:7", "applied"] {
        assert!(shown.as_str().is_some_and(|text| text.contains(word)), "{word}: {shown}");
    }
    browser.click("#events-clear").await;
    browser.click("input[value='miss']").await;
    browser.wait_for("return document.getElementById('events-state').textContent === 'live'").await;
    service.page(7, 1).await;
    browser.wait_for("return document.getElementById('events').innerText.includes('filled')").await;
    assert_eq!(browser.script("return document.getElementById('events').innerText.includes('miss')").await, false);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_used_by_keyboard() {
    let service = Service::in_memory();
    service.page(7, 1).await;
    let listening = serve(&service).await;
    let browser = browser_of("reader", &listening, Device::Desktop).await;
    browser.goto(&listening.admin("functions")).await;
    let press = async |key: char| {
        let focused = browser.client.active_element().await.expect("something has the focus");
        focused.send_keys(&key.to_string()).await.expect("it takes keys");
    };
    press(Pressed::Tab.into()).await;
    assert_eq!(browser.script("return document.activeElement.className").await, "skip");
    press(Pressed::Enter.into()).await;
    browser.wait_for("return document.activeElement.id === 'main'").await;
    press(Pressed::Tab.into()).await;
    assert_eq!(browser.script("return document.activeElement.textContent").await, "Function");
    let outline = browser.script("return getComputedStyle(document.activeElement).outlineStyle").await;
    assert_eq!(outline, "solid", "where the focus is can be seen");
    press(Pressed::Enter.into()).await;
    browser.wait_for("return location.search === '?sort=name&order=asc'").await;
    assert_eq!(
        browser.script("return document.querySelector('[aria-sort=ascending]').innerText.trim()").await,
        "Function"
    );
}

/// All pages, with the key of an entry.
fn all_pages(key: &str) -> [String; 11] {
    [
        "overview",
        "functions",
        "map",
        "keys",
        "keys?match=profile",
        &format!("key?name={key}"),
        "invalidate",
        "invalidate?kind=glob&target=p*",
        "events",
        "doctor",
        "nothing",
    ]
    .map(str::to_owned)
}

async fn fits(browser: &Browser, page: &str) {
    let widths = browser.script("return [document.documentElement.scrollWidth, window.innerWidth]").await;
    assert!(widths[0].as_u64() <= widths[1].as_u64(), "{page} is wider than the window: {widths}");
    let labelled = browser
        .script(
            "return [...document.querySelectorAll('input:not([type=hidden]), select')] \
             .filter(field => !field.labels.length).map(field => field.outerHTML)",
        )
        .await;
    assert_eq!(labelled, serde_json::json!([]), "{page}: every field has a label");
    let ids = browser
        .script("const ids = [...document.querySelectorAll('[id]')].map(e => e.id); return ids.length === new Set(ids).size")
        .await;
    assert_eq!(ids, true, "{page}: every id is there once");
}

/// Also takes pictures, where `STALEPROOF_TEST_PICTURES` names a folder for them.
#[tokio::test(flavor = "multi_thread")]
async fn every_page_fits_on_a_desktop_and_on_a_phone() {
    let redis = RedisServer::start();
    let service = Service::over(&redis).await;
    let listening = serve(&service).await;
    let name = format!("somebody {}", "with a rather long name ".repeat(6));
    service.profile(name.clone()).await;
    for number in 0..200 {
        service.page(number % 7, number % 50).await;
    }
    let key = Key::new("profile").arg(&name);
    let key = key.as_str().replace('%', "%25");
    for device in [Device::Desktop, Device::Phone] {
        let browser = browser_of("writer", &listening, device).await;
        for page in all_pages(&key) {
            browser.goto(&listening.admin(&page)).await;
            fits(&browser, &page).await;
            if let Some(folder) = std::env::var_os("STALEPROOF_TEST_PICTURES") {
                let picture = browser.client.screenshot().await.expect("a picture");
                let name = page.split(['?', '=']).collect::<Vec<_>>().join("-").replace(['%', '*', '&'], "");
                let file = std::path::PathBuf::from(folder).join(format!("{name:.40}-{device:?}.png"));
                std::fs::write(file, picture).expect("the folder is there");
            }
        }
    }
}
