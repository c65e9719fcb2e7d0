//! A nats-server process for one test, with the project's configuration.

use std::{
    fs::{self, File},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{self, Child, Command, Stdio},
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

/// How long the server may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(20);

/// The users of `services/queue/nats-server.conf`.
const USERS: [&str; 3] = ["web", "calculator", "websocket"];

/// The user of `services/queue/cluster.conf`, as which the nodes of a cluster connect to each other.
const ROUTES: &str = "routes";

/// The port at which the nodes of a cluster reach each other.
const ROUTES_PORT: u16 = 6222;

/// How many clusters this process has started.
static CLUSTERS: AtomicU8 = AtomicU8::new(0);

/// A running nats-server on a free port, killed when it is dropped.
///
/// Its log is in its directory, which is kept if the test panics. The output of the test then names the
/// log.
#[derive(Debug)]
pub struct NatsServer {
    dir: TempDir,
    port: u16,
    node: Option<Node>,
    process: Option<Child>,
}

/// What a server needs to know as one of the nodes of a cluster.
#[derive(Debug)]
struct Node {
    address: Ipv4Addr,
    /// The addresses of all nodes.
    routes: String,
}

impl NatsServer {
    /// Starts a server with an empty disk and waits until it listens.
    ///
    /// # Panics
    ///
    /// If there is no `nats-server` on the PATH, or it does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_as(None)
    }

    /// Starts the three nodes of a cluster, each with an empty disk, and waits until they listen.
    ///
    /// # Panics
    ///
    /// As [`start`](Self::start).
    #[must_use]
    pub fn start_cluster() -> [Self; 3] {
        // The port is the same everywhere, so each node has an address of its own. No other process has the
        // same two bytes in the middle, unless there are more than 65 536 of them.
        let [.., high, low] = process::id().to_be_bytes();
        let nodes_before = 3 * CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let addresses =
            [1, 2, 3].map(|number| Ipv4Addr::new(127, high, low, nodes_before + number));
        let password = password(ROUTES);
        let routes = addresses
            .map(|address| format!("\"nats-route://{ROUTES}:{password}@{address}:{ROUTES_PORT}\""))
            .join(",");
        addresses.map(|address| {
            Self::start_as(Some(Node {
                address,
                routes: format!("[{routes}]"),
            }))
        })
    }

    fn start_as(node: Option<Node>) -> Self {
        let mut dir = tempfile::Builder::new()
            .prefix("nats-")
            .tempdir()
            .expect("a temporary directory");
        dir.disable_cleanup(false);
        for user in USERS {
            fs::write(dir.path().join(user), password(user)).expect("a password file");
        }
        let mut server = Self {
            dir,
            port: 0,
            node,
            process: None,
        };
        server.launch("-1");
        server
    }

    /// The server's URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The file with a user's password.
    #[must_use]
    pub fn password_file(&self, user: &str) -> PathBuf {
        self.dir.path().join(user)
    }

    /// Kills the server, as `kill -9` does.
    ///
    /// # Panics
    ///
    /// If it is not running.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("a running server");
        process.kill().expect("a process to kill");
        process.wait().expect("a process to wait for");
    }

    /// Stops the server's process without ending it, as SIGSTOP does. Returns once all of its threads have
    /// stopped; until then they still answer.
    ///
    /// # Panics
    ///
    /// If the server is not running.
    pub fn pause(&self) {
        let pid = self.pid();
        kill_process(pid, Signal::STOP).expect("a process to stop");
        let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED)
            .expect("a child to wait for")
            .expect("a change of its state");
        assert!(status.stopped(), "the server ended: {status:?}");
    }

    /// Lets a paused server go on.
    ///
    /// # Panics
    ///
    /// If the server is not running.
    pub fn resume(&self) {
        kill_process(self.pid(), Signal::CONT).expect("a process to continue");
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.process.as_ref().expect("a running server"))
    }

    /// Starts a killed server again, on the same port and disk.
    pub fn restart(&mut self) {
        self.launch(&self.port.to_string());
    }

    /// Deletes the data of a killed server.
    ///
    /// # Panics
    ///
    /// If there is no data to delete.
    pub fn lose_disk(&mut self) {
        fs::remove_dir_all(self.dir.path().join("data")).expect("a data directory");
    }

    fn launch(&mut self, port: &str) {
        let dir = self.dir.path();
        let (conf, copies) = match self.node {
            None => ("nats-server.conf", 1),
            Some(_) => ("cluster.conf", 3),
        };
        let conf = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../services/queue")
            .join(conf);
        let log = File::options()
            .create(true)
            .append(true)
            .open(dir.join("log"))
            .expect("a log file");
        let mut command = Command::new("nats-server");
        command
            .args(["-a", "127.0.0.1", "-p", port, "-m", "-1", "-c"])
            .arg(conf)
            .arg("-sd")
            .arg(dir.join("data"))
            .arg("--ports_file_dir")
            .arg(dir)
            .env("SYNC_INTERVAL", "always")
            .env("JOBS_MAX_FILE", format!("{}MB", 512 * copies))
            .env("RESULTS_MAX_FILE", format!("{}MB", 1000 * copies))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        for user in USERS {
            command.env(format!("{}_PASSWORD", user.to_uppercase()), password(user));
        }
        if let Some(Node { address, routes }) = &self.node {
            command
                .arg("--name")
                .arg(address.to_string())
                .arg("--cluster")
                .arg(format!("nats://{address}:{ROUTES_PORT}"))
                .env("ROUTES_PASSWORD", password(ROUTES))
                .env("ROUTES", routes);
        }
        let process = command
            .spawn()
            .expect("nats-server on the PATH (`make test` puts it there)");
        let ports_file = dir.join(format!("nats-server_{}.ports", process.id()));
        self.process = Some(process);
        self.port = self.await_port(&ports_file);
    }

    fn await_port(&mut self, ports_file: &Path) -> u16 {
        let start = Instant::now();
        loop {
            let port = fs::read(ports_file).ok().and_then(|json| {
                let ports: serde_json::Value = serde_json::from_slice(&json).ok()?;
                ports["nats"][0].as_str()?.rsplit(':').next()?.parse().ok()
            });
            if let Some(port) = port {
                return port;
            }
            let ended = self
                .process
                .as_mut()
                .is_none_or(|process| process.try_wait().is_ok_and(|status| status.is_some()));
            if ended || start.elapsed() > START_LIMIT {
                self.dir.disable_cleanup(true);
                panic!(
                    "nats-server did not start, see {}",
                    self.dir.path().join("log").display()
                );
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.dir.disable_cleanup(true);
            eprintln!(
                "nats-server's log: {}",
                self.dir.path().join("log").display()
            );
        }
        if self.process.is_some() {
            self.kill();
        }
    }
}

fn password(user: &str) -> String {
    format!("password-of-{user}")
}
