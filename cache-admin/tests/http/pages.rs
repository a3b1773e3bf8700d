//! What the pages say.

use axum::http::StatusCode;
use test_support::RedisServer;

use crate::{
    client::get,
    support::{MARKUP, READER, Service, WRITER},
};

#[tokio::test]
async fn functions_are_sorted_without_scripts() {
    let service = Service::in_memory();
    for _ in 0..3 {
        service.page(1, 1).await;
    }
    service.profile("a".to_owned()).await;
    let router = service.router();
    let order = async |query: &str| {
        let body = get(&router, &format!("/functions{query}"), READER).await.body;
        let place = |name: &str| body.find(&format!("class=\"name\">{name}<")).unwrap_or_else(|| panic!("{body}"));
        (place("page") < place("profile"), body)
    };
    let (page_first, body) = order("").await;
    assert!(page_first, "it has more hits");
    assert!(body.contains("aria-sort=\"descending\"><a href=\"functions?sort=hits&amp;order=asc\""), "{body}");
    assert!(!order("?sort=hits&order=asc").await.0);
    assert!(order("?sort=name").await.0);
    assert!(!order("?sort=ttl").await.0, "an hour is more than 15 minutes");
    assert!(order("?sort=ttl&order=asc").await.0);
    assert!(body.contains("data-label=\"Entries\">1</td>"), "{body}");
    assert_eq!(get(&router, "/functions?sort=nothing", READER).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_map_has_an_edge_for_each_way_and_no_orphan_where_there_is_none() {
    let router = Service::in_memory().router();
    let body = get(&router, "/map", READER).await.body;
    for edge in ["entry", "node", "tag", "glob"] {
        assert_eq!(body.matches(&format!("class=\"edge {edge}\"")).count(), 1, "{edge}: {body}");
    }
    assert!(body.contains("data-prefix=\"page\"") && body.contains("Service::change"), "{body}");
    assert!(!body.contains("function box orphan") && !body.contains("nobody drops"), "{body}");
}

#[tokio::test]
async fn keys_come_in_pages_and_values_as_text() {
    let redis = RedisServer::start();
    let service = Service::over(&redis).await;
    for page in 0..230 {
        service.page(7, page).await;
    }
    service.profile(MARKUP.to_owned()).await;
    let router = service.router();
    let mut seen = std::collections::BTreeSet::new();
    let (mut path, mut pages) = ("/keys?match=page:&count=50".to_owned(), 0);
    loop {
        let answer = get(&router, &path, READER).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let keys = answer.body.split("href=\"key?name=").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
        let before = seen.len();
        seen.extend(keys);
        assert!(seen.len() - before <= 150, "a page is bounded");
        pages += 1;
        let Some((_, next)) = answer.body.split_once("rel=\"next\" href=\"") else { break };
        path = format!("/{}", next.split('"').next().unwrap().replace("&amp;", "&"));
    }
    assert!(seen.len() == 230 && pages > 1, "{} in {pages} pages", seen.len());

    let listed = get(&router, "/keys?match=profile", READER).await.body;
    let name = listed.split("href=\"key?name=").nth(1).expect("one").split('"').next().unwrap();
    let page = get(&router, &format!("/key?name={name}"), READER).await.body;
    assert!(page.contains("window.hacked"), "{page}");
    assert!(!page.contains("<script>window") && !page.contains("<b id"), "{page}");
    assert!(page.contains("json"), "the codec: {page}");

    assert_eq!(get(&router, "/keys?cursor=nonsense", READER).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(get(&router, "/key?name=page:9:9", READER).await.status, StatusCode::NOT_FOUND);
    assert_eq!(get(&router, "/key?name=%3Cb%3E", READER).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn markup_in_an_address_is_text() {
    let router = Service::in_memory().router();
    let evil = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E";
    for path in ["/keys?match=", "/key?name=", "/invalidate?kind=glob&target=", "/keys?cursor=", "/no/"] {
        let body = get(&router, &format!("{path}{evil}"), WRITER).await.body;
        assert!(!body.contains("<script>alert"), "{path}: {body}");
    }
}

#[tokio::test]
async fn hidden_values_are_hidden_everywhere() {
    let redis = RedisServer::start();
    let service = Service::over(&redis).await;
    service.profile("somebody".to_owned()).await;
    let open = service.router();
    let shown = get(&open, "/api/key?name=profile:somebody", READER).await.json();
    assert_eq!((&shown["value_state"], &shown["value"]["name"]), (&"shown".into(), &"somebody".into()));

    let hidden = service.admin().hide_values().build().expect("complete");
    let hidden = axum::Router::new().nest(crate::support::MOUNT, hidden);
    let page = get(&hidden, "/key?name=profile:somebody", READER).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("hidden by configuration") && !page.body.contains("window.hacked"), "{}", page.body);
    let json = get(&hidden, "/api/key?name=profile:somebody", READER).await;
    assert_eq!((&json.json()["value_state"], &json.json()["value"]), (&"hidden".into(), &serde_json::Value::Null));
    assert!(!json.body.contains("window.hacked"));
}

#[tokio::test]
async fn a_page_that_nobody_may_write_on_has_no_forms_for_it() {
    let service = Service::in_memory();
    service.page(1, 1).await;
    let router =
        axum::Router::new().nest(crate::support::MOUNT, service.admin().read_only().build().expect("complete"));
    assert_eq!(get(&router, "/invalidate", WRITER).await.status, StatusCode::FORBIDDEN);
    let key = get(&router, "/key?name=page:1:1", WRITER).await.body;
    assert!(!key.contains("href=\"invalidate"), "{key}");
}
