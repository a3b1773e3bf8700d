//! A topic in the browser: real connections, over both bridges.
#![cfg(feature = "axum")]

use std::time::Duration;

use axum::{Router, extract::WebSocketUpgrade, routing::get};
use cache_core::Cache;
use cache_kit::{Kit, Topic, bridge};
use futures_util::StreamExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const PATIENCE: Duration = Duration::from_secs(30);

async fn serve(topic: Topic<String>) -> u16 {
    let (for_events, for_sockets) = (topic.clone(), topic);
    let router: Router =
        Router::new().route("/events", get(async move || bridge::events(for_events.subscribe().await))).route(
            "/socket",
            get(async move |upgrade: WebSocketUpgrade| {
                let subscription = for_sockets.subscribe().await;
                upgrade.on_upgrade(|socket| bridge::websocket(socket, subscription))
            }),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a port");
    let port = listener.local_addr().expect("it is bound").port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

#[tokio::test]
async fn messages_come_as_events() {
    let topic: Topic<String> = Kit::of(&Cache::memory()).topic("shifts");
    let port = serve(topic.clone()).await;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
    stream.write_all(b"GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("it reads");
    let mut text = String::new();
    let mut buffer = [0; 4096];
    let publish = |topic: Topic<String>| async move { topic.publish(&"a\n<b>".to_owned()).await.expect("it is told") };
    while !text.contains("data: \"a\\n<b>\"\n\n") {
        // Nobody listens before the answer has begun.
        if text.contains("text/event-stream") {
            publish(topic.clone()).await;
        }
        let count = timeout(PATIENCE, stream.read(&mut buffer)).await.expect("it comes").expect("it is open");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
}

#[tokio::test]
async fn messages_come_over_a_socket() {
    let topic: Topic<String> = Kit::of(&Cache::memory()).topic("shifts");
    let port = serve(topic.clone()).await;
    let (mut socket, _) =
        tokio_tungstenite::connect_async(format!("ws://127.0.0.1:{port}/socket")).await.expect("it is upgraded");
    for number in 0..3 {
        topic.publish(&format!("shift {number}")).await.expect("it is told");
        let message =
            timeout(PATIENCE, socket.next()).await.expect("it comes").expect("it is open").expect("it is right");
        assert_eq!(message.into_text().expect("it is text"), format!("\"shift {number}\"").as_str());
    }
}
