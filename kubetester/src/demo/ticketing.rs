//! The optional ticketing system of the demo: two programs on one SQLite file. They are processes of their own, so that
//! kubetester does not contain a database, and each runs behind a guard, so that it does not outlive the demo.

use std::{
    env,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use balanced_channel::Channel;
use proto::ticketing::{
    CreateCustomerRequest, GetCustomerRequest, ListCustomersRequest,
    customer_controller_client::CustomerControllerClient,
};
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{ChildStdin, ChildStdout, Command},
    time::{interval, timeout},
};
use tonic::{Request, Response, Status};

use crate::drill::processes::guard::{self, Order};

/// The name of the program, of its package, and the first part of its pods' names.
const PROGRAM: &str = "ticketing";

/// The number of programs on the file.
const REPLICAS: u8 = 2;

/// The maximum time until a program listens.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// The maximum time until the channel is connected to all programs.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The interval at which the channel's state is read until it is connected.
const CONNECT_POLL: Duration = Duration::from_millis(10);

/// The timeout of a call.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum time for the programs to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

/// The running programs. They are killed and their file is deleted when this value is dropped; if this process is killed,
/// the programs still are, and the file is left.
#[derive(Debug)]
pub struct Ticketing {
    pods: Vec<Pod>,
    _folder: tempfile::TempDir,
}

#[derive(Debug)]
struct Pod {
    name: String,
    address: SocketAddr,
    /// The orders to the guard, which kills the program when this closes.
    orders: ChildStdin,
    /// The lines of the guard; the next one has the exit status of the program.
    events: Lines<BufReader<ChildStdout>>,
}

/// A call and its answer.
#[derive(Debug)]
pub struct FirstCall {
    /// The method and the request in words.
    pub request: &'static str,
    /// The answer in words.
    pub answer: String,
    /// The pod that answered.
    pub pod: String,
}

/// The first log line of a program.
#[derive(Deserialize)]
struct Started {
    listen: SocketAddr,
}

/// Returns the path of the program, which is in the folder of the tool.
///
/// # Errors
///
/// Fails if the program does not exist, with one sentence that names the command that builds it.
pub fn program() -> Result<PathBuf, String> {
    let tool =
        env::current_exe().map_err(|error| format!("finding the folder of kubetester failed: {error}"))?;
    let program = tool.with_file_name(format!("{PROGRAM}{}", env::consts::EXE_SUFFIX));
    if program.is_file() {
        return Ok(program);
    }
    let debug = tool.parent().is_some_and(|folder| folder.ends_with("debug"));
    let profile = if debug { "" } else { "--release " };
    Err(format!(
        "{} does not exist: build it with `cargo build {profile}-p {PROGRAM}`, or leave out --with {PROGRAM}",
        program.display()
    ))
}

// === impl Ticketing ===

impl Ticketing {
    /// Starts the programs on a new SQLite file, and waits until they listen.
    ///
    /// # Errors
    ///
    /// Fails with one sentence if the folder cannot be created, or if a program does not start.
    pub async fn start(program: &Path) -> Result<Self, String> {
        let folder = tempfile::tempdir()
            .map_err(|error| format!("creating a folder for the SQLite file failed: {error}"))?;
        let url = format!("sqlite:{}", folder.path().join("customers.db").display());
        let mut pods = Vec::new();
        for number in 1..=REPLICAS {
            let pod = Pod::start(program, format!("{PROGRAM}-{number}"), &url).await;
            pods.push(pod.map_err(|cause| format!("starting {} failed: {cause}", program.display()))?);
        }
        Ok(Self { pods, _folder: folder })
    }

    /// Returns the name and the address of each pod.
    pub fn pods(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.pods.iter().map(|pod| (pod.name.as_str(), pod.address))
    }

    /// Returns the target whose addresses are those of the pods.
    pub fn target(&self) -> String {
        let addresses: Vec<_> = self.pods.iter().map(|pod| pod.address.to_string()).collect();
        format!("ipv4:{}", addresses.join(","))
    }

    /// Creates a customer at one pod, repeats the Create with its idempotency key at the other one, and reads.
    ///
    /// # Errors
    ///
    /// Fails with one sentence if a call fails or its answer is wrong.
    pub async fn first_calls(&self) -> Result<Vec<FirstCall>, String> {
        let mut client = CustomerControllerClient::new(self.connect().await?);
        let create = || {
            let names = CreateCustomerRequest { first_name: "Ann".to_owned(), last_name: "Lee".to_owned() };
            let mut request = Request::new(names);
            request
                .metadata_mut()
                .insert("idempotency-key", "demo".parse().expect("the value is visible ASCII"));
            request
        };
        let (ann, first) = answer("CreateCustomer", client.create_customer(create())).await?;
        let (again, second) = answer("CreateCustomer", client.create_customer(create())).await?;
        let get = GetCustomerRequest { id: ann.id.clone() };
        let (found, third) = answer("GetCustomer", client.get_customer(get)).await?;
        let list = client.list_customers(ListCustomersRequest::default());
        let (list, fourth) = answer("ListCustomers", list).await?;

        if (&again, &found) != (&ann, &ann) || list.customers != [ann.clone()] {
            return Err(format!(
                "{PROGRAM} does not have exactly one customer after a repeated CreateCustomer"
            ));
        }
        if first == second {
            return Err(format!(
                "{first} answered two {PROGRAM} calls in a row: the pods did not take turns"
            ));
        }
        let customer = format!("customer {}, {} {}", ann.id, ann.first_name, ann.last_name);
        let call = |request, answer: &str, pod| FirstCall { request, answer: answer.to_owned(), pod };
        Ok(vec![
            call("CreateCustomer Ann Lee", &customer, first),
            call("the same, with its idempotency-key", &customer, second),
            call("GetCustomer by its id", &customer, third),
            call("ListCustomers", "1 customer", fourth),
        ])
    }

    /// Returns a channel that is connected to all pods, and calls them in turn.
    async fn connect(&self) -> Result<Channel, String> {
        let channel = Channel::builder(self.target()).build();
        let channel =
            channel.map_err(|error| format!("the channel to {PROGRAM} cannot be built: {error}"))?;
        let connected = async {
            let mut poll = interval(CONNECT_POLL);
            while channel.snapshot().ready() < self.pods.len() {
                poll.tick().await;
            }
        };
        let connected = timeout(CONNECT_TIMEOUT, connected).await;
        connected.map_err(|_| format!("connecting to {} failed: timed out", self.target()))?;
        Ok(channel)
    }

    /// Waits until a program ends by itself, and returns a sentence about it.
    pub async fn failed(&mut self) -> String {
        let ended = self.pods.iter_mut().map(|pod| {
            Box::pin(async {
                let event = pod.events.next_line().await.ok().flatten().unwrap_or_default();
                let status = event.strip_prefix("ended ").unwrap_or("its exit status is unknown");
                format!("{} ended by itself: {status}", pod.name)
            })
        });
        futures_util::future::select_all(ended).await.0
    }

    /// Ends the programs after they have answered the calls in flight.
    pub async fn stop(mut self) {
        for pod in &mut self.pods {
            // A program that has ended needs no signal.
            drop(pod.orders.write_all(Order::Terminate.line().as_bytes()).await);
        }
        let all = futures_util::future::join_all(self.pods.iter_mut().map(|pod| pod.events.next_line()));
        // A program that does not end in time is killed by its guard.
        drop(timeout(STOP_TIMEOUT, all).await);
    }
}

// === impl Pod ===

impl Pod {
    async fn start(program: &Path, name: String, url: &str) -> Result<Self, String> {
        let any_port = format!("{}:0", Ipv4Addr::LOCALHOST);
        let tool = env::current_exe().map_err(|error| error.to_string())?;
        let mut guard = Command::new(tool)
            .arg(guard::ARGUMENT)
            .arg(program)
            .env_clear()
            .envs([("POD_NAME", name.as_str()), ("DATABASE_URL", url), ("LOG_FORMAT", "json")])
            .envs([("LISTEN_ADDR", any_port.as_str()), ("ADMIN_ADDR", "")])
            // A Ctrl-C in a terminal is for the demo, which ends the programs.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let orders = guard.stdin.take().expect("it is piped");
        let mut events = BufReader::new(guard.stdout.take().expect("it is piped")).lines();
        let mut logs = BufReader::new(guard.stderr.take().expect("it is piped"));
        let event = events.next_line().await.map_err(|error| error.to_string())?.unwrap_or_default();
        if !event.starts_with("started ") {
            return Err(event.strip_prefix("failed ").unwrap_or("its guard has ended").to_owned());
        }
        let mut line = String::new();
        match timeout(START_TIMEOUT, logs.read_line(&mut line)).await {
            Ok(Ok(0)) => return Err("it ended before it listened".to_owned()),
            Ok(read) => drop(read.map_err(|error| error.to_string())?),
            Err(_) => return Err(format!("it does not listen after {START_TIMEOUT:?}")),
        }
        let Ok(Started { listen }) = serde_json::from_str(&line) else {
            return Err(line.trim().to_owned());
        };
        // A program that logs to a full pipe would block.
        tokio::spawn(async move { tokio::io::copy(&mut logs, &mut tokio::io::sink()).await });
        Ok(Self { name, address: listen, orders, events })
    }
}

/// Waits for the answer of a call, and returns it with the pod's name.
async fn answer<T>(
    method: &str,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<(T, String), String> {
    let answer = timeout(CALL_TIMEOUT, call).await;
    let answer =
        answer.map_err(|_| format!("{method} of {PROGRAM} failed: no answer within {CALL_TIMEOUT:?}"))?;
    let answer = answer
        .map_err(|status| format!("{method} of {PROGRAM} failed: {}: {}", status.code(), status.message()))?;
    let pod = answer.metadata().get("hostname").and_then(|name| name.to_str().ok()).unwrap_or("?").to_owned();
    Ok((answer.into_inner(), pod))
}
