//! Counts how often functions ran: each run calls it with its own id, from
//! inside its container.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

/// Longest that a caller may take to say who it is.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that notes who calls. It ends with this value.
pub struct Tally {
    address: SocketAddr,
    runs: Arc<Mutex<HashMap<String, usize>>>,
    over: Arc<AtomicBool>,
    counting: Option<JoinHandle<()>>,
}

impl Tally {
    /// Nobody has run yet.
    pub fn start() -> Tally {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (runs, over) = (Arc::new(Mutex::new(HashMap::new())), Arc::new(AtomicBool::new(false)));
        let (noted, ends) = (Arc::clone(&runs), Arc::clone(&over));
        let counting = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ends.load(Ordering::Relaxed) {
                    return;
                }
                let noted = Arc::clone(&noted);
                // One each: a slow caller keeps nobody else waiting.
                thread::spawn(move || note(stream, &noted));
            }
        });
        Tally { address, runs, over, counting: Some(counting) }
    }

    /// Source of a Python function that calls, then takes so long.
    pub fn function(&self, seconds: f64) -> String {
        self.function_taking(&seconds.to_string())
    }

    /// The same, with an expression for how long, in seconds.
    pub fn function_taking(&self, seconds: &str) -> String {
        format!(
            "import os, random, socket, time\n\
             def main(args):\n    \
                 with socket.create_connection(('127.0.0.1', {}), 30) as s:\n        \
                     s.sendall((os.environ['__OW_ACTIVATION_ID'] + '\\n').encode())\n        \
                     s.recv(1)\n    \
                 time.sleep({seconds})\n    \
                 return {{'ran': True}}\n",
            self.address.port()
        )
    }

    /// How often each ran.
    pub fn runs(&self) -> HashMap<String, usize> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn note(mut stream: TcpStream, runs: &Mutex<HashMap<String, usize>>) {
    // Whoever is killed meanwhile has not run yet, as far as anyone can see.
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let mut line = String::new();
    if BufReader::new(&stream).read_line(&mut line).is_ok_and(|_| line.ends_with('\n')) {
        *runs.lock().unwrap_or_else(PoisonError::into_inner).entry(line.trim().to_owned()).or_default() += 1;
        let _ = stream.write_all(b".");
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        // Wakes it.
        let _ = TcpStream::connect(self.address);
        let _ = self.counting.take().map(JoinHandle::join);
    }
}
