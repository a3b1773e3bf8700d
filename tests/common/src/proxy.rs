//! A TCP proxy that can be cut, slowed down and frozen.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::Duration,
};

/// Passes bytes between its own port and another address, as long as the test lets it.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    to: Mutex<SocketAddr>,
    mode: Mutex<Mode>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Mode {
    is_cut: bool,
    is_frozen: bool,
    is_over: bool,
    delay: Duration,
    open: Vec<TcpStream>,
}

impl Proxy {
    /// Listens on a free port of the loopback and passes everything on to `to`.
    pub fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("the loopback has a free port");
        let port = listener.local_addr().expect("a listener has an address").port();
        let state = Arc::new(State { to: Mutex::new(to), mode: Mutex::default(), changed: Condvar::new() });
        let accepting = Arc::clone(&state);
        thread::spawn(move || accepting.accept(&listener));
        Self { port, state }
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Closes all connections, and every new one at once.
    pub fn cut(&self) {
        self.state.set(|mode| {
            mode.is_cut = true;
            mode.close_all();
        });
    }

    /// Closes all connections; new ones lead to another address, as after a failover.
    pub fn redirect(&self, to: SocketAddr) {
        *self.state.to.lock().expect("no thread of the proxy panics") = to;
        self.state.set(Mode::close_all);
    }

    /// New connections lead to another address; those that are open stay where they are, as after a failover that only new
    /// connections hear of.
    pub fn lead(&self, to: SocketAddr) {
        *self.state.to.lock().expect("no thread of the proxy panics") = to;
    }

    /// Passes nothing on from now on; connections stay open.
    pub fn freeze(&self) {
        self.state.set(|mode| mode.is_frozen = true);
    }

    /// Waits this long before it passes anything on.
    pub fn delay(&self, delay: Duration) {
        self.state.set(|mode| mode.delay = delay);
    }

    /// Ends a cut, a freeze and a delay.
    pub fn resume(&self) {
        self.state.set(|mode| {
            mode.is_cut = false;
            mode.is_frozen = false;
            mode.delay = Duration::ZERO;
        });
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.set(|mode| {
            mode.is_over = true;
            mode.close_all();
        });
        // Wakes the thread that accepts.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

impl Mode {
    fn close_all(&mut self) {
        for stream in self.open.drain(..) {
            // The other side may have closed it already.
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

impl State {
    fn set(&self, change: impl FnOnce(&mut Mode)) {
        change(&mut self.mode.lock().expect("no thread of the proxy panics"));
        self.changed.notify_all();
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for client in listener.incoming().flatten() {
            let mut mode = self.mode.lock().expect("no thread of the proxy panics");
            if mode.is_over {
                return;
            }
            if mode.is_cut {
                continue;
            }
            let Ok(server) = TcpStream::connect(*self.to.lock().expect("no thread of the proxy panics")) else {
                continue;
            };
            for (from, to) in [(&client, &server), (&server, &client)] {
                from.set_nodelay(true).expect("the stream is open");
                let (from, to) = (clone(from), clone(to));
                mode.open.push(clone(&from));
                let state = Arc::clone(self);
                thread::spawn(move || state.pass(from, to));
            }
        }
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from.read(&mut buffer) {
            let mode = self.mode.lock().expect("no thread of the proxy panics");
            let stopped = |mode: &mut Mode| mode.is_frozen && !mode.is_cut && !mode.is_over;
            let mode = self.changed.wait_while(mode, stopped).expect("no thread of the proxy panics");
            let delay = mode.delay;
            drop(mode);
            thread::sleep(delay);
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        drop(to.shutdown(Shutdown::Both));
        drop(from.shutdown(Shutdown::Both));
    }
}

fn clone(stream: &TcpStream) -> TcpStream {
    stream.try_clone().expect("the process may open more files")
}
