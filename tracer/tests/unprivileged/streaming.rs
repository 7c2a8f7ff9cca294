//! Agents and clients over real sockets, without probes: the tests emit the events.

mod agent;
mod reach;
mod uplink;

use tracer::client::feed::{Feed, Query, Update};
use tracer::client::{ClientError, Options, Target};
use tracer::stream::event::unix_clock;
use tracer::stream::proto;
use tracer::stream::proto::observe_response::Message;
use tracer::stream::proto::tracer_client::TracerClient;
use tracer_core::model::time::Timestamp;
use tracer_core::view::filter::{EventType, FilterConfig};

use self::agent::{Agent, Heard, MILLISECOND, START, history, unix, within};

#[tokio::test]
async fn histories_of_several_agents_are_one_in_the_order_of_time() {
    let directory = tempfile::tempdir().expect("a directory");
    let sockets = ["a", "b"].map(|name| directory.path().join(name));
    let one = Agent::start("one", "1", &sockets[0], 1 << 20);
    let two = Agent::start("two", "2", &sockets[1], 1 << 20);
    for number in 0..500 {
        let agent = if number % 3 == 0 { &one } else { &two };
        agent.emit(number, &number.to_string());
    }
    one.reached(1000);
    two.reached(1000);
    let mut feed = Feed::start(unix(&[&sockets[0], &sockets[1]]), history())
        .await
        .expect("started");
    let heard = Heard::all(&mut feed).await;
    let numbers: Vec<i64> = heard
        .events
        .iter()
        .filter_map(|event| event.split_once('/')?.1.parse().ok())
        .collect();
    assert_eq!(numbers, (0..500).collect::<Vec<i64>>());
    assert_eq!(feed.out_of_order(), 0);
    let reported: Vec<u64> = feed.agents().iter().map(|agent| agent.events).collect();
    assert_eq!(reported, [167, 333]);
    one.end().await;
    two.end().await;
    assert!(!sockets[0].exists());
}

#[tokio::test]
async fn an_agent_chooses_by_filter_time_and_number() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("a");
    let agent = Agent::start("one", "1", &socket, 1 << 20);
    for number in 0..10 {
        agent.emit(number * 1000, &number.to_string());
    }
    agent.reached(10_000);
    let ask = async |question: Query| {
        let mut feed = Feed::start(unix(&[&socket]), question)
            .await
            .expect("started");
        Heard::all(&mut feed).await.events
    };
    let since = unix_clock(Timestamp((START + 7000 * MILLISECOND) as u64));
    let recent = ask(Query {
        since: Some(since),
        ..history()
    });
    assert_eq!(recent.await, ["one/7", "one/8", "one/9"]);
    let last = ask(Query {
        last: Some(2),
        ..history()
    });
    assert_eq!(last.await, ["one/8", "one/9"]);
    let others = ask(Query {
        filter: FilterConfig {
            types: vec![EventType::Dns],
            ..FilterConfig::default()
        },
        ..history()
    });
    assert!(others.await.is_empty());
    agent.end().await;
}

#[tokio::test]
async fn an_agent_that_is_restarted_is_reported_and_nothing_comes_twice() {
    let directory = tempfile::tempdir().expect("a directory");
    let sockets = ["a", "b"].map(|name| directory.path().join(name));
    let one = Agent::start("one", "1", &sockets[0], 1 << 20);
    let two = Agent::start("two", "2", &sockets[1], 1 << 20);
    one.emit(1, "before");
    one.reached(200);
    two.reached(200);
    let question = Query {
        follow: true,
        ..history()
    };
    let mut feed = Feed::start(unix(&[&sockets[0], &sockets[1]]), question)
        .await
        .expect("started");
    let mut heard = Heard::default();
    heard
        .until(&mut feed, |heard| !heard.events.is_empty())
        .await;
    one.emit(300, "live");
    one.reached(400);
    two.reached(400);
    heard
        .until(&mut feed, |heard| heard.events.len() == 2)
        .await;
    one.end().await;
    heard
        .until(&mut feed, |heard| {
            heard.said.iter().any(|said| said.contains("trying again"))
        })
        .await;
    // The other one continues meanwhile.
    two.emit(500, "meanwhile");
    two.reached(600);
    heard
        .until(&mut feed, |heard| heard.events.len() == 3)
        .await;
    let again = Agent::start("one", "another", &sockets[0], 1 << 20);
    // Before the client is back.
    again.emit(700, "after");
    again.reached(800);
    two.reached(800);
    heard
        .until(&mut feed, |heard| heard.events.len() == 4)
        .await;
    assert_eq!(
        heard.events,
        ["one/before", "one/live", "two/meanwhile", "one/after"]
    );
    assert!(
        heard.said.iter().any(|said| said.contains("restarted")),
        "{:?}",
        heard.said
    );
    assert_eq!(heard.lost, 0);
    drop(feed);
    again.end().await;
    two.end().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_delays_no_other_and_learns_what_it_missed() {
    const SENT: u64 = 50_000;
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("a");
    let agent = Agent::start("one", "1", &socket, 64 << 10);
    let channel = Target::Unix(socket.clone()).connect().await.expect("there");
    let request = proto::ObserveRequest {
        follow: true,
        ..proto::ObserveRequest::default()
    };
    let mut stream = TracerClient::new(channel)
        .observe(request)
        .await
        .expect("a stream")
        .into_inner();
    // It is there, and reads nothing from here on.
    let first = within(stream.message()).await.expect("a message");
    assert!(matches!(
        first.and_then(|first| first.message),
        Some(Message::Node(_))
    ));
    let mut other = Feed::start(
        unix(&[&socket]),
        Query {
            follow: true,
            ..Query::default()
        },
    )
    .await
    .expect("started");
    let mut heard = Heard::default();
    // Both streams have begun when the history has ended for both.
    while within(other.next()).await.expect("agents") != Some(Update::HistoryEnded) {}
    loop {
        match within(stream.message()).await.expect("a message") {
            Some(response) => match response.message {
                Some(Message::Mark(mark)) if mark.history_ended => break,
                _ => {}
            },
            None => panic!("it follows"),
        }
    }
    for number in 0..SENT {
        agent.emit(1, &number.to_string());
        if number % 100 == 0 {
            agent.reached(1);
            // Gives the reader time.
            tokio::task::yield_now().await;
        }
    }
    agent.reached(1000);
    agent.emit(2000, "the end");
    agent.reached(3000);
    heard
        .until(&mut other, |heard| {
            heard
                .events
                .last()
                .is_some_and(|last| last == "one/the end")
        })
        .await;
    let (mut events, mut lost) = (0, 0);
    loop {
        let message = within(stream.message()).await.expect("a message");
        match message.and_then(|response| response.message) {
            Some(Message::Event(reported)) => {
                events += 1;
                if reported.sequence == SENT {
                    break;
                }
            }
            Some(Message::Lost(loss)) => {
                assert_eq!(loss.stage(), proto::Stage::Stream);
                lost += loss.count;
            }
            Some(_) => {}
            None => panic!("it follows"),
        }
    }
    assert!(lost > 0);
    assert_eq!(events + lost, SENT + 1);
    agent.end().await;
}

#[tokio::test]
async fn clients_beyond_the_limit_are_refused_with_a_message() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("a");
    let agent = Agent::start_with("one", "1", &socket, 1 << 20, None, 1);
    let question = Query {
        follow: true,
        ..Query::default()
    };
    let mut first = Feed::start(unix(&[&socket]), question.clone())
        .await
        .expect("started");
    while within(first.next()).await.expect("reached") != Some(Update::HistoryEnded) {}
    let mut second = Feed::start(unix(&[&socket]), question)
        .await
        .expect("started");
    let error = loop {
        match within(second.next()).await {
            Ok(_) => {}
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("--max-clients"), "{error}");
    agent.end().await;
}

#[tokio::test]
async fn only_agents_of_the_requested_nodes_send_events() {
    let directory = tempfile::tempdir().expect("a directory");
    let sockets = ["a", "b"].map(|name| directory.path().join(name));
    let one = Agent::start("worker-1", "1", &sockets[0], 1 << 20);
    let two = Agent::start("worker-2", "2", &sockets[1], 1 << 20);
    for agent in [&one, &two] {
        agent.emit(1, "x");
        agent.reached(1000);
    }
    let ask = async |glob: &str| {
        let options = Options {
            nodes: vec![glob.parse().expect("a pattern")],
            ..unix(&[&sockets[0], &sockets[1]])
        };
        Feed::start(options, history()).await.expect("started")
    };
    let heard = Heard::all(&mut ask("*-2").await).await;
    assert_eq!(heard.events, ["worker-2/x"]);
    let mut none = ask("master*").await;
    let error = within(none.next()).await.expect_err("no agent");
    assert!(
        matches!(&error, ClientError::NoSuchNode { available, .. } if available.contains("worker-1")),
        "{error}"
    );
    one.end().await;
    two.end().await;
}
