//! The network between the instances and the server.
//!
//! Each connection of an instance is a pair of queues: requests that the server has not executed, and replies that the
//! client has not got. Nothing moves by itself; the schedule executes a request or delivers a reply, one at a time, each
//! connection in its own order. What a client had sent before it gave a connection up still lies in front of the server.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use cache_redis::Wire;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::resp;

/// All connections. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Network(Arc<Mutex<State>>);

#[derive(Default)]
pub(crate) struct State {
    next: u64,
    pub(crate) connections: Vec<Connection>,
    /// No instance gets through.
    pub(crate) down: bool,
    /// These instances do not get through.
    pub(crate) unreachable: HashSet<u64>,
    /// Until when these do not run.
    frozen: HashMap<u64, u64>,
}

pub(crate) struct Connection {
    id: u64,
    pub(crate) instance: u64,
    /// The beginning of a request.
    partial: Vec<u8>,
    pub(crate) requests: VecDeque<Vec<u8>>,
    pub(crate) replies: VecDeque<Vec<u8>>,
    /// Delivered and not yet read.
    readable: VecDeque<u8>,
    is_open: bool,
    pub(crate) client_left: bool,
    waker: Option<Waker>,
    /// Until when nothing moves.
    pub(crate) stalled_until: u64,
    /// What it has subscribed to.
    channels: Vec<Vec<u8>>,
}

impl Network {
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The network as this instance sees it.
    pub(crate) fn wire(&self, instance: u64) -> Wire {
        let network = self.clone();
        Wire::new(move || {
            let mut state = network.lock();
            if state.down || state.unreachable.contains(&instance) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let id = state.next;
            state.next += 1;
            let stalled_until = state.frozen.get(&instance).copied().unwrap_or(0);
            state.connections.push(Connection { stalled_until, ..Connection::new(id, instance) });
            Ok(Box::new(End { id, network: network.clone() }))
        })
    }
}

impl State {
    /// Forgets connections that nothing moves on any more.
    pub(crate) fn tidy(&mut self) {
        self.connections.retain(|connection| !connection.client_left || !connection.requests.is_empty());
    }

    /// Puts what was published behind the replies of all who have subscribed. Returns who they are.
    pub(crate) fn publish(&mut self, channel: &[u8], message: &[u8]) -> Vec<usize> {
        let connections = self.connections.iter_mut().enumerate();
        connections.filter_map(|(index, connection)| connection.hear(channel, message).then_some(index)).collect()
    }

    /// From now on nothing comes from or to an instance, over new connections either.
    pub(crate) fn freeze(&mut self, instance: u64, until: u64) {
        self.frozen.insert(instance, until);
        for connection in self.connections.iter_mut().filter(|connection| connection.instance == instance) {
            connection.stalled_until = connection.stalled_until.max(until);
        }
    }

    pub(crate) fn is_frozen(&self, instance: u64, now: u64) -> bool {
        self.frozen.get(&instance).is_some_and(|until| *until > now)
    }

    /// Everything moves again.
    pub(crate) fn thaw(&mut self) {
        self.frozen.clear();
        self.connections.iter_mut().for_each(|connection| connection.stalled_until = 0);
    }

    fn find(&mut self, id: u64) -> Option<&mut Connection> {
        self.connections.iter_mut().find(|connection| connection.id == id)
    }
}

impl Connection {
    fn new(id: u64, instance: u64) -> Self {
        Self {
            id,
            instance,
            partial: Vec::new(),
            requests: VecDeque::new(),
            replies: VecDeque::new(),
            readable: VecDeque::new(),
            is_open: true,
            client_left: false,
            waker: None,
            stalled_until: 0,
            channels: Vec::new(),
        }
    }

    pub(crate) fn has_subscribed(&self) -> bool {
        !self.channels.is_empty()
    }

    /// The server has executed a `SUBSCRIBE`. Returns its answer, a frame for each channel.
    pub(crate) fn subscribe(&mut self, channels: &[&[u8]]) -> Vec<u8> {
        let mut answer = Vec::new();
        for channel in channels {
            self.channels.push(channel.to_vec());
            answer.extend(resp::push("subscribe", channel));
            answer.extend_from_slice(format!(":{}\r\n", self.channels.len()).as_bytes());
        }
        answer
    }

    /// The server has executed what publishes this.
    fn hear(&mut self, channel: &[u8], message: &[u8]) -> bool {
        let hears = self.is_open && self.channels.iter().any(|own| own == channel);
        if hears {
            let mut frame = resp::push("message", channel);
            resp::push_string(&mut frame, message);
            self.replies.push_back(frame);
        }
        hears
    }

    /// Hands the client the oldest reply.
    pub(crate) fn deliver(&mut self) {
        let Some(reply) = self.replies.pop_front() else { return };
        self.readable.extend(reply);
        self.waker.take().into_iter().for_each(Waker::wake);
    }

    /// Breaks. The first `arrived` requests have reached the server, the others are lost, and so are all replies.
    pub(crate) fn cut(&mut self, arrived: usize) {
        self.is_open = false;
        self.requests.truncate(arrived);
        self.replies.clear();
        self.waker.take().into_iter().for_each(Waker::wake);
    }
}

/// The client's end of a connection.
struct End {
    id: u64,
    network: Network,
}

impl AsyncRead for End {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut state = self.network.lock();
        let Some(connection) = state.find(self.id) else { return Poll::Ready(Ok(())) };
        if !connection.readable.is_empty() {
            let count = connection.readable.len().min(into.remaining());
            let bytes: Vec<u8> = connection.readable.drain(..count).collect();
            into.put_slice(&bytes);
            return Poll::Ready(Ok(()));
        }
        if !connection.is_open {
            return Poll::Ready(Ok(()));
        }
        connection.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.network.lock();
        let Some(connection) = state.find(self.id).filter(|connection| connection.is_open) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        connection.partial.extend_from_slice(bytes);
        while let Some(length) = resp::frame_len(&connection.partial) {
            let rest = connection.partial.split_off(length);
            let request = std::mem::replace(&mut connection.partial, rest);
            connection.requests.push_back(request);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.network.lock();
        if let Some(connection) = state.find(self.id) {
            connection.client_left = true;
            connection.is_open = false;
            connection.replies.clear();
        }
    }
}
