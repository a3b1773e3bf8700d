//! What is written by hand everywhere: `GET`, and `SET` after a miss; `DEL` after a write.

use redis::{AsyncCommands as _, aio::MultiplexedConnection};

use super::{Place, Subject, TTL};

#[derive(Clone)]
pub struct ByHand {
    connection: MultiplexedConnection,
    place: Place,
}

impl ByHand {
    pub async fn new(place: &Place) -> Self {
        let client = redis::Client::open(place.url.as_str()).expect("a URL");
        let connection = client.get_multiplexed_async_connection().await.expect("Redis is there");
        Self { connection, place: place.clone() }
    }

    fn name(&self, key: u64) -> String {
        format!("{}:{key}", self.place.space)
    }
}

impl Subject for ByHand {
    async fn read(&self, key: u64) -> u64 {
        let (mut redis, name) = (self.connection.clone(), self.name(key));
        if let Some(value) = redis.get(&name).await.expect("Redis answers") {
            return value;
        }
        let value = self.place.source.load(key).await;
        let () = redis.set_ex(&name, value, TTL.as_secs()).await.expect("Redis answers");
        value
    }

    async fn invalidate(&self, key: u64) -> bool {
        let () = self.connection.clone().del(self.name(key)).await.expect("Redis answers");
        true
    }
}
