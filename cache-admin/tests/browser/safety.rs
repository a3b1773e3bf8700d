//! What others try with it.

use axum::{Router, response::Html, routing::get};
use serde_json::json;
use test_support::RedisServer;

use crate::{Browser, Device, MARKUP, MOUNT, Service, browser_of, listen, serve};

#[tokio::test(flavor = "multi_thread")]
async fn an_unauthorised_visitor_gets_nothing() {
    let service = Service::in_memory();
    service.page(7, 1).await;
    let listening = serve(&service).await;
    let browser = Browser::open(Device::Desktop).await;
    for page in ["overview", "functions", "map", "keys", "invalidate", "events", "nothing", "api/stats", "api/events"] {
        browser.goto(&listening.admin(page)).await;
        assert_eq!(browser.page().await.trim(), "forbidden", "{page}");
        assert_eq!(browser.script("return document.styleSheets.length + document.scripts.length").await, 0, "{page}");
    }
    // Who logs out sees nothing new either, also on a page that is open.
    browser.goto(&format!("http://{}/login/reader", listening.address)).await;
    browser.goto(&listening.admin("overview")).await;
    browser.client.delete_all_cookies().await.expect("cookies can be deleted");
    browser.wait_for("return document.getElementById('pause').textContent === 'No answer; retrying'").await;
    // And who may read only cannot write.
    browser.goto(&format!("http://{}/login/reader", listening.address)).await;
    browser.goto(&listening.admin("invalidate?kind=node&target=page:7")).await;
    browser.click("#preview button").await;
    browser.wait_for("return document.body.innerText.trim() === 'forbidden'").await;
    service.page(7, 1).await;
    assert_eq!(service.asked(), 1);
}

/// A page of somebody else that sends a form to the admin page as soon as it is opened.
fn trap(target: &str, token: &str) -> Router {
    let page = format!(
        "<form method=post action='{target}'><input name=kind value=node><input name=target value='page:7'>\
         <input name=csrf value='{token}'></form><script>document.forms[0].submit()</script>"
    );
    Router::new().route("/", get(async move || Html(page)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_form_is_refused() {
    let redis = RedisServer::start();
    let service = Service::over(&redis).await;
    service.page(7, 1).await;
    let listening = serve(&service).await;
    let browser = browser_of("writer", &listening, Device::Desktop).await;
    browser.goto(&listening.admin("invalidate?kind=node&target=page:7")).await;
    // The worst case: the token itself has got out.
    let token = browser.script("return document.querySelector('[name=csrf]').value").await;
    let token = token.as_str().expect("the form has a token");
    let target = listening.admin("invalidate");
    for token in ["", "0000", token] {
        // Another port is the same site, so the browser sends all cookies along; another host is another site.
        let evil = listen(trap(&target, token)).await;
        for host in ["127.0.0.1", "localhost"] {
            browser.goto(&format!("http://{host}:{}/", evil.address.port())).await;
            browser.wait_for(&format!("return location.pathname === '{MOUNT}/invalidate'")).await;
            let said = browser.page().await;
            assert!(said.contains("another site") || said.trim() == "forbidden", "{host}: {said}");
            service.page(7, 1).await;
            assert_eq!(service.asked(), 1, "{host}: nothing was invalidated");
        }
    }
    // On a page of the service itself a form without the token comes from here, and is refused all the same.
    let forge =
        "const form = document.querySelector('#preview form'); form.elements.csrf.value = '0000'; form.submit();";
    browser.goto(&listening.admin("invalidate?kind=node&target=page:7")).await;
    browser.script(forge).await;
    browser.wait_for("return document.querySelector('h1')?.textContent === 'Refused'").await;
    service.page(7, 1).await;
    assert_eq!(service.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn markup_in_keys_and_values_is_text() {
    let redis = RedisServer::start();
    let service = Service::over(&redis).await;
    let listening = serve(&service).await;
    let browser = browser_of("writer", &listening, Device::Desktop).await;
    let untouched = async |place: &str| {
        let injected = "return [window.hacked === undefined, document.querySelectorAll('#injected').length, \
                        [...document.scripts].every(script => script.src.startsWith(location.origin))]";
        assert_eq!(browser.script(injected).await, json!([true, 0, true]), "{place}");
    };
    browser.goto(&listening.admin("events")).await;
    browser.wait_for("return document.getElementById('events-state').textContent === 'live'").await;
    service.profile(MARKUP.to_owned()).await;
    browser.wait_for("return document.getElementById('events').innerText.includes('profile:')").await;
    untouched("events").await;

    browser.goto(&listening.admin("keys?match=profile")).await;
    untouched("keys").await;
    let listed = browser.text("#keys a").await;
    assert!(listed.starts_with("profile:") && listed.contains("script"), "{listed}");
    browser.click("#keys a").await;
    untouched("key").await;
    assert!(browser.text("#parts").await.contains(MARKUP), "the key is shown, decoded, as text");
    let value: serde_json::Value =
        serde_json::from_str(&browser.text("#value").await).expect("the value is shown as JSON");
    assert_eq!(value, json!({ "name": MARKUP, "bio": MARKUP }));

    browser.goto(&listening.admin("invalidate?kind=glob&target=%3Cscript%3Ewindow.hacked=true%3C/script%3E")).await;
    untouched("invalidate").await;
    assert!(browser.text("#preview-heading").await.contains("<script>window.hacked=true</script>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_content_security_policy_stands_behind_that() {
    let service = Service::in_memory();
    let listening = serve(&service).await;
    let elsewhere = listen(Router::new().route("/", get(async || "elsewhere"))).await;
    let framing = format!("<iframe src='{}'></iframe>", listening.admin("overview"));
    let evil = listen(Router::new().route("/", get(async move || Html(framing)))).await;
    let browser = browser_of("writer", &listening, Device::Desktop).await;
    browser.goto(&listening.admin("overview")).await;
    let inject = "window.violations = []; \
         document.addEventListener('securitypolicyviolation', event => window.violations.push(event.effectiveDirective)); \
         const script = document.createElement('script'); script.textContent = 'window.hacked = true'; document.body.append(script); \
         const image = document.createElement('img'); image.src = 'http://127.0.0.1:PORT/'; document.body.append(image); \
         document.body.setAttribute('style', 'color: red'); \
         fetch('http://127.0.0.1:PORT/').catch(() => {});";
    browser.script(&inject.replace("PORT", &elsewhere.address.port().to_string())).await;
    browser.wait_for("return window.violations.length >= 4").await;
    let violations = browser.script("return window.violations.sort()").await;
    assert_eq!(violations, json!(["connect-src", "img-src", "script-src-elem", "style-src-attr"]));
    assert_eq!(browser.script("return window.hacked === undefined").await, true);

    browser.goto(&format!("http://127.0.0.1:{}/", evil.address.port())).await;
    browser.client.enter_frame(0).await.expect("there is a frame");
    let framed = browser.script("return document.body.innerText.includes('Overview')").await;
    assert_eq!(framed, false, "{}", browser.page().await);
}
