//! The CPU time of Get by id, beside that of a server with nothing but tonic and sqlx on the same SQLite file.
//!
//! ```text
//! cargo bench -p ticketing --bench get                   5 rounds of 5 s with 2000 calls a second
//! RATE=200 SECONDS=1 ROUNDS=1 cargo bench -p ticketing --bench get --profile dev
//! ```
//!
//! Both are processes with one worker thread. In each round both are called at the same rate, in turns, and the ratio of
//! their CPU times per call (user and system, of all threads) is printed. Exits with 1 if the median is above 1.15.

#![allow(clippy::unwrap_used, reason = "in a benchmark, a panic is the report")]

mod bare;

use std::{
    env, fs,
    net::SocketAddr,
    process::{ExitCode, Stdio},
    str::FromStr,
    time::Duration,
};

use proto::ticketing::{
    CreateCustomerRequest, GetCustomerRequest, customer_controller_client::CustomerControllerClient,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    task::JoinSet,
    time::{Instant, interval},
};
use tonic::transport::{Channel, Endpoint};

/// The ratio that the median may have.
const MAX_RATIO: f64 = 1.15;

/// Customers in the file.
const CUSTOMERS: usize = 1000;

/// Connections of the load, each with one caller.
const CALLERS: u32 = 8;

type Client = CustomerControllerClient<Channel>;

struct Server {
    child: Child,
    clients: Vec<Client>,
}

// === impl Server ===

impl Server {
    /// Starts a program, whose first line on standard error has the field `listen` in JSON.
    async fn start(mut command: Command, url: &str) -> Self {
        let mut child = command
            .env_clear()
            .envs([("LISTEN_ADDR", "127.0.0.1:0"), ("ADMIN_ADDR", ""), ("LOG_FORMAT", "json")])
            .env("DATABASE_URL", url)
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut logs = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        logs.read_line(&mut line).await.unwrap();
        tokio::spawn(async move { tokio::io::copy(&mut logs, &mut tokio::io::sink()).await });
        let listen = line.split_once(r#""listen":""#).and_then(|(_, rest)| rest.split('"').next());
        let addr: SocketAddr = listen.unwrap_or_else(|| panic!("it did not start: {line}")).parse().unwrap();
        let mut clients = Vec::new();
        for _ in 0..CALLERS {
            let endpoint = Endpoint::new(format!("http://{addr}")).unwrap();
            clients.push(Client::new(endpoint.connect().await.unwrap()));
        }
        Self { child, clients }
    }

    /// Calls at a rate for some time, and returns the CPU time of each call in microseconds.
    async fn cpu_per_call(&self, rate: u32, time: Duration) -> f64 {
        let before = self.cpu();
        let deadline = Instant::now() + time;
        let mut callers = JoinSet::new();
        for mut client in self.clients.iter().cloned() {
            callers.spawn(async move {
                // A caller that is late calls at once until it has caught up.
                let mut due = interval(Duration::from_secs(1) * CALLERS / rate);
                let mut calls = 0;
                while due.tick().await < deadline {
                    let id = (calls % CUSTOMERS + 1).to_string();
                    let answer = client.get_customer(GetCustomerRequest { id: id.clone() }).await.unwrap();
                    assert_eq!(answer.into_inner().id, id);
                    calls += 1;
                }
                calls
            });
        }
        let calls: usize = callers.join_all().await.into_iter().sum();
        (self.cpu() - before).as_secs_f64() * 1e6 / calls as f64
    }

    /// Returns the time that the threads of the process have run.
    fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id().unwrap())).unwrap();
        let nanoseconds = tasks.map(|task| {
            let line = fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
            line.split(' ').next().unwrap().parse::<u64>().unwrap()
        });
        Duration::from_nanos(nanoseconds.sum())
    }
}

fn setting<T: FromStr>(name: &str, default: T) -> T {
    let value = env::var(name).ok();
    value.map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is {value:?}")))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if env::args().nth(1).is_some_and(|first| first == "bare") {
        bare::serve().await;
        return ExitCode::SUCCESS;
    }
    let (rate, rounds) = (setting("RATE", 2000), setting("ROUNDS", 5));
    let time = Duration::from_secs(setting("SECONDS", 5));

    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("customers.db").display());
    // ticketing creates the table.
    let ticketing = Server::start(Command::new(env!("CARGO_BIN_EXE_ticketing")), &url).await;
    for number in 0..CUSTOMERS {
        let names =
            CreateCustomerRequest { first_name: "Ann".to_owned(), last_name: format!("Lee {number}") };
        ticketing.clients[0].clone().create_customer(names).await.unwrap();
    }
    let mut bare = Command::new(env::current_exe().unwrap());
    bare.arg("bare");
    let bare = Server::start(bare, &url).await;

    // Connections to the file are opened, and pages read, before the first round.
    for server in [&ticketing, &bare] {
        server.cpu_per_call(rate, Duration::from_secs(1)).await;
    }
    println!("round  ticketing µs  bare µs  ratio");
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let (mut of_ticketing, mut of_bare) = (0.0, 0.0);
        // The first server of a round is the second one of the next.
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                of_ticketing = ticketing.cpu_per_call(rate, time).await;
            } else {
                of_bare = bare.cpu_per_call(rate, time).await;
            }
        }
        ratios.push(of_ticketing / of_bare);
        println!("{round:>5}  {of_ticketing:>12.1}  {of_bare:>7.1}  {:>5.3}", of_ticketing / of_bare);
    }
    ratios.sort_by(f64::total_cmp);
    let (min, median, max) = (ratios[0], ratios[ratios.len() / 2], ratios[ratios.len() - 1]);
    println!("ratio at {rate} calls a second: {min:.3} to {max:.3}, median {median:.3}, at most {MAX_RATIO}");
    if median <= MAX_RATIO { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
