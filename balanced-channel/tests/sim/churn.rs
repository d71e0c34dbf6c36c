//! The set of endpoints grows and shrinks every second, under load.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use balanced_channel::Channel;
use tokio::{
    runtime::Handle,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    cluster::simulate,
    load::{Load, ready, until},
    network::FINE,
    node::Backend,
    registry::{endpoints, manual_channel},
};

/// Returns the number of calls sent to each endpoint so far.
fn started(channel: &Channel) -> BTreeMap<SocketAddr, u64> {
    channel.snapshot().subchannels.iter().map(|s| (s.address, s.started)).collect()
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

#[test]
fn churn_fails_no_call_and_leaks_no_task_or_socket() {
    simulate(FINE, ["machine"], |[node]| async move {
        let backends = node.backends(50);
        let at_first = tasks();
        let (channel, updates) = manual_channel().await;
        updates.publish(endpoints(&backends[..2]));
        ready(&channel, 2).await;
        sleep(Duration::from_millis(100)).await;
        let with_two = tasks();

        let load = Load { burst: 1, work_ms: 30, ..Load::default() }.start(&channel);
        let began = Instant::now();
        for (second, size) in (1..=60).zip([3, 50, 2, 50].into_iter().cycle()) {
            updates.publish(endpoints(&backends[..size]));
            ready(&channel, size).await;
            let before = started(&channel);
            sleep_until(began + Duration::from_secs(second)).await;
            let shares: Vec<_> =
                started(&channel).into_iter().map(|(address, now)| now - before[&address]).collect();
            let (least, most) = (shares.iter().min().unwrap(), shares.iter().max().unwrap());
            assert!(shares.iter().sum::<u64>() >= 900, "second {second}: {shares:?}");
            assert!(most - least <= 1, "second {second}: {shares:?}");
        }
        load.stop().await.assert_all_succeeded(59_000);

        updates.publish(endpoints(&backends[..2]));
        ready(&channel, 2).await;
        let open = |from: usize| backends[from..].iter().map(Backend::connections).sum::<u64>();
        until("the old connections' end", || (open(2) == 0).then_some(())).await;
        assert_eq!(open(0), 2);
        until("the old tasks' end", || (tasks() <= with_two).then_some(())).await;

        drop(channel);
        until("the last connections' end", || (open(0) == 0).then_some(())).await;
        until("the last tasks' end", || (tasks() <= at_first).then_some(())).await;
    });
}
