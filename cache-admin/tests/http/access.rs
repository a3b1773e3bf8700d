//! Nothing without authorisation.

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Method, Request, StatusCode, header, request::Parts},
    response::Redirect,
};
use cache_admin::{Admin, BuildError};

use crate::{
    client::{get, send},
    support::{MOUNT, READER, Service},
};

const PATHS: [&str; 25] = [
    "",
    "/overview",
    "/functions",
    "/map",
    "/keys",
    "/key?name=page:1:1",
    "/invalidate",
    "/events",
    "/doctor",
    "/nothing",
    "/nothing/below",
    "/admin.css",
    "/api",
    "/api/overview",
    "/api/stats",
    "/api/health",
    "/api/functions",
    "/api/history",
    "/api/map",
    "/api/keys",
    "/api/key?name=page:1:1",
    "/api/preview?kind=all",
    "/api/events",
    "/api/nothing",
    "/api/invalidate",
];

fn assert_headers(headers: &HeaderMap, path: &str) {
    let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().expect("text");
    assert!(policy.starts_with("default-src 'none'; "), "{path}: {policy}");
    assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{path}: {policy}");
    assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
    assert_eq!(headers[header::REFERRER_POLICY], "same-origin", "{path}");
    assert!(headers.contains_key(header::CACHE_CONTROL), "{path}");
}

#[test]
fn a_router_without_authorisation_is_not_built() {
    let admin = || Admin::new(Service::in_memory().cache);
    let yes = |_: &Parts| true;
    assert!(matches!(admin().build(), Err(BuildError::NoReads)));
    assert!(matches!(admin().authorize_writes(yes).build(), Err(BuildError::NoReads)));
    assert!(matches!(admin().read_only().build(), Err(BuildError::NoReads)));
    let error = admin().authorize_reads(yes).build().expect_err("nobody said who may write");
    assert!(error.to_string().contains("`read_only`"), "{error}");
    assert!(admin().authorize_reads(yes).read_only().build().is_ok());
    assert!(admin().authorize_reads(yes).authorize_writes(yes).build().is_ok());
}

#[tokio::test]
async fn an_unauthorised_visitor_gets_nothing() {
    let service = Service::in_memory();
    service.page(1, 1).await;
    let router = service.router();
    for path in PATHS {
        for method in [Method::GET, Method::POST, Method::HEAD, Method::OPTIONS, Method::PUT] {
            for cookie in ["", "who=writers", "who=", "xwho=reader"] {
                let request = Request::builder().method(&method).uri(format!("{MOUNT}{path}"));
                let request = request.header(header::COOKIE, cookie).body(Body::empty()).expect("a request");
                let answer = send(&router, request).await;
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path} {cookie}");
                assert!(answer.body.is_empty() || answer.body == "forbidden\n", "{method} {path}: {}", answer.body);
                assert_headers(&answer.headers, path);
            }
        }
    }
}

#[tokio::test]
async fn every_answer_has_the_headers() {
    let router = Service::in_memory().router();
    for path in PATHS.into_iter().filter(|path| !path.ends_with("/events")) {
        assert_headers(&get(&router, path, READER).await.headers, path);
    }
    let page = get(&router, "/overview", READER).await;
    assert_eq!(page.headers[header::CACHE_CONTROL], "no-store");
    for extension in ["css", "js"] {
        let (name, _) = page.body.split_once(&format!(".{extension}\"")).expect("the page names its assets");
        let name = &name[name.rfind('"').expect("in quotes") + 1..];
        let asset = get(&router, &format!("/{name}.{extension}"), READER).await;
        assert_eq!(asset.status, StatusCode::OK, "{name}");
        assert_headers(&asset.headers, name);
        assert_eq!(get(&router, &format!("/{name}.{extension}"), "").await.status, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn pages_have_neither_styles_nor_scripts_nor_handlers_in_them() {
    let service = Service::in_memory();
    service.page(1, 1).await;
    let router = service.router();
    for path in PATHS.into_iter().filter(|path| !path.starts_with("/api") && !path.is_empty()) {
        let body = get(&router, path, READER).await.body;
        for forbidden in [" style=", "<style", " onclick", " onload", "javascript:", "http://", "https://", "//cdn"] {
            assert!(!body.contains(forbidden), "{path} has {forbidden}");
        }
        assert_eq!(body.matches("<script").count(), body.matches("<script src=\"").count(), "{path}");
    }
}

#[tokio::test]
async fn a_refusal_is_the_hosts_own() {
    let cache = Service::in_memory().cache;
    let login = |_: &Parts| Err::<(), _>(Redirect::to("/login"));
    let admin = Admin::new(cache.clone()).authorize_reads(login).read_only().build().expect("complete");
    let answer = get(&Router::new().nest(MOUNT, admin), "/overview", "").await;
    assert_eq!((answer.status, &answer.headers[header::LOCATION]), (StatusCode::SEE_OTHER, &"/login".parse().unwrap()));

    let later = |parts: Parts| async move {
        tokio::task::yield_now().await;
        parts.headers.contains_key("x-operator")
    };
    let admin = Admin::new(cache).authorize_reads_async(later).authorize_writes_async(later).build().expect("complete");
    let router = Router::new().nest(MOUNT, admin);
    assert_eq!(get(&router, "/overview", "").await.status, StatusCode::FORBIDDEN);
    let request = Request::get(format!("{MOUNT}/overview")).header("x-operator", "1").body(Body::empty()).unwrap();
    assert_eq!(send(&router, request).await.status, StatusCode::OK);
}

#[tokio::test]
async fn it_can_be_mounted_anywhere() {
    let service = Service::in_memory();
    let built = || service.admin().build().expect("complete");
    let mounted = [
        (built(), "", "/", "./overview"),
        (Router::new().nest("/a", built()), "/a", "/a", "./a/overview"),
        (Router::new().nest("/a/b", built()), "/a/b", "/a/b", "./b/overview"),
        (Router::new().nest_service("/a/b", built()), "/a/b", "/a/b/", "./overview"),
        (Router::new().nest("/x", Router::new().nest("/y", built())), "/x/y", "/x/y", "./y/overview"),
    ];
    for (router, prefix, root, location) in mounted {
        let ask = async |path: &str| {
            let request = Request::get(path).header(header::COOKIE, READER).body(Body::empty()).expect("a request");
            send(&router, request).await
        };
        let answer = ask(root).await;
        assert_eq!(answer.status, StatusCode::TEMPORARY_REDIRECT, "{root}");
        assert_eq!(answer.headers[header::LOCATION], location, "{root}");
        let page = ask(&format!("{prefix}/overview")).await;
        assert_eq!(page.status, StatusCode::OK, "{prefix}");
        assert!(page.body.contains("href=\"functions\""), "links are relative to the folder of the pages");
        let deep = ask(&format!("{prefix}/no/such/page")).await;
        assert_eq!(deep.status, StatusCode::NOT_FOUND, "{prefix}");
        assert!(deep.body.contains("href=\"../../overview\""), "{prefix}: {}", deep.body);
    }
}

#[tokio::test]
async fn another_site_cannot_make_it_work() {
    let router = Service::in_memory().router();
    let ask = async |mode: &str, destination: &str| {
        let request = Request::get(format!("{MOUNT}/invalidate?kind=glob&target=*"))
            .header(header::COOKIE, READER)
            .header("sec-fetch-site", "cross-site")
            .header("sec-fetch-mode", mode)
            .header("sec-fetch-dest", destination);
        send(&router, request.body(Body::empty()).expect("a request")).await.status
    };
    assert_eq!(ask("no-cors", "image").await, StatusCode::FORBIDDEN);
    assert_eq!(ask("navigate", "iframe").await, StatusCode::FORBIDDEN);
    assert_eq!(ask("cors", "empty").await, StatusCode::FORBIDDEN);
    assert_eq!(ask("navigate", "document").await, StatusCode::OK, "a link may lead here");
}
