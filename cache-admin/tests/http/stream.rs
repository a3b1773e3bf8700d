//! Events as a stream, over a real connection.

use std::{net::SocketAddr, time::Duration};

use axum::http::StatusCode;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{
    client::get,
    support::{READER, Service},
};

async fn listen(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let request = format!("GET /admin/cache{path} HTTP/1.1\r\nHost: {address}\r\nCookie: {READER}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("it reads");
    stream
}

/// Reads until this has come.
async fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut all = Vec::new();
    let reading = async {
        loop {
            let text = String::from_utf8_lossy(&all);
            if text.contains(wanted) {
                return text.into_owned();
            }
            let mut part = [0; 4_096];
            let read = stream.read(&mut part).await.expect("the connection stands");
            assert!(read > 0, "it ended with {}", String::from_utf8_lossy(&all));
            all.extend_from_slice(&part[..read]);
        }
    };
    timeout(Duration::from_secs(30), reading).await.unwrap_or_else(|_| panic!("no {wanted}"))
}

#[tokio::test]
async fn events_come_as_they_happen() {
    let service = Service::in_memory();
    let router = service.router();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let serving = tokio::spawn(axum::serve(listener, router.clone()).into_future());

    let mut all = listen(address, "/api/events").await;
    let mut misses = listen(address, "/api/events?kinds=miss,invalidated").await;
    for stream in [&mut all, &mut misses] {
        let head = read_until(stream, "listening").await.to_ascii_lowercase();
        assert!(head.contains("content-type: text/event-stream"), "{head}");
    }
    for _ in 0..2 {
        service.page(7, 1).await;
    }
    service.change(7).await;
    service.rename("anybody".to_owned()).await;
    let seen = read_until(&mut all, "\"invalidated\"").await;
    for kind in ["miss", "loaded", "filled", "hit"] {
        assert!(seen.contains(&format!("\"kind\":\"{kind}\"")), "{kind}: {seen}");
    }
    assert!(seen.contains("\"key\":\"page:7:1\""), "{seen}");
    let some = read_until(&mut misses, "\"invalidated\"").await;
    assert!(some.contains("\"kind\":\"miss\"") && !some.contains("\"hit\"") && !some.contains("\"loaded\""), "{some}");
    serving.abort();
}

#[tokio::test]
async fn a_flood_is_counted_and_not_sent() {
    let service = Service::in_memory();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let serving = tokio::spawn(axum::serve(listener, service.router()).into_future());
    let mut stream = listen(address, "/api/events").await;
    read_until(&mut stream, "listening").await;
    for _ in 0..5_000 {
        service.page(1, 1).await;
    }
    let seen = read_until(&mut stream, "\"skipped\"").await;
    assert!(seen.matches("\"kind\"").count() < 1_000, "{}", seen.matches("\"kind\"").count());
    serving.abort();
}

#[tokio::test]
async fn listeners_are_few_and_leave_their_seat() {
    let service = Service::in_memory();
    let router = service.router();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let serving = tokio::spawn(axum::serve(listener, router.clone()).into_future());
    let mut all = Vec::new();
    for _ in 0..16 {
        let mut stream = listen(address, "/api/events").await;
        read_until(&mut stream, "listening").await;
        all.push(stream);
    }
    assert_eq!(get(&router, "/api/events", READER).await.status, StatusCode::SERVICE_UNAVAILABLE);
    drop(all);
    let again = async {
        loop {
            let mut stream = listen(address, "/api/events").await;
            if read_until(&mut stream, "\r\n").await.contains("200 OK") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(30), again).await.expect("the seats are free again");
    serving.abort();
}
