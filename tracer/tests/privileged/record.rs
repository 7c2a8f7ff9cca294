//! `--local --record` on real packets: a replayed recording gives the events of the recorded run, other
//! programs can read it, and a full disk ends the recording but not the run.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use testbed::lab::ProxyMode;
use testbed::stage::{CLIENT, NODE, Stage, asked, program};
use testbed::watch::{Ended, Events, listed};

/// All kinds of a pod's traffic at once: found and not found, TCP, IPv6, pings, refusals.
const SESSION: &[&[&str]] = &[
    &["nslookup", "clusterip-nginx-ds"],
    &["nslookup", "clusterip-apache2-ds-myns"],
    &["getent", "ahosts", "clusterip-nginx-ds"],
    &[
        "dig",
        "+tcp",
        "clusterip-nginx-ds.default.svc.cluster.local",
    ],
    &["dig", "big.example.com", "TXT"],
    &["curl", "-s", "-m", "5", "clusterip-nginx-ds:80"],
    &["curl", "-s", "-m", "5", "clusterip-nginx-ds:90"],
    &["ping", "-n", "-c", "3", "-i", "0.2", "10.1.235.214"],
    &["ping", "-n", "-c", "2", "-i", "0.2", "10.152.183.115"],
];

fn replay(recording: &Path, inventory: &Path) -> Vec<Value> {
    let output = Command::new(program())
        .args(["observe", "-o", "json", "--node-name", NODE, "--replay"])
        .arg(recording)
        .arg("--inventory")
        .arg(inventory)
        .output()
        .expect("the program runs");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout)
        .expect("text")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// Nanoseconds since the epoch, for what is close together.
fn nanoseconds(time: &Value) -> i128 {
    let text = time.as_str().expect("a time");
    let (date, fraction) = text
        .strip_suffix('Z')
        .and_then(|text| text.split_once('.'))
        .expect("UTC with a fraction");
    let date = format!("{date}Z");
    let output = Command::new("date")
        .args(["-d", &date, "+%s"])
        .output()
        .expect("date");
    let seconds: i128 = String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .expect("seconds");
    seconds * 1_000_000_000 + format!("{fraction:0<9}").parse::<i128>().expect("digits")
}

/// When an event happened; "first" and "last" are a finding's.
const TIMES: [&str; 3] = ["time", "first", "last"];

/// Events without their times, in an order that does not depend on them: events of several interfaces are
/// reported in the order of the ring buffer live, and of their stamps in replay.
fn without_times(events: &[Value]) -> Vec<String> {
    let mut lines: Vec<String> = events
        .iter()
        .map(|event| {
            let mut event = event.clone();
            for key in TIMES {
                if let Some(time) = event.get_mut(key) {
                    *time = Value::Null;
                }
            }
            event.to_string()
        })
        .collect();
    lines.sort();
    lines
}

/// The tracer's closing line about its recording.
fn recorded(ended: &Ended) -> &str {
    ended
        .log
        .iter()
        .find(|line| line.starts_with("recorded: "))
        .expect("the sum")
}

fn stopped(mut events: Events) -> (Vec<Value>, Ended) {
    let ended = events.stop().expect("the tracer ends").remove(0);
    (events.of_step().to_vec(), ended)
}

#[test]
fn a_replayed_recording_reports_the_events_of_the_recorded_run() {
    let stage = Stage::new(ProxyMode::Iptables);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let recording = directory.path().join("run.pcapng");
    let path = recording.to_str().expect("text");
    let mut events = stage.events(&["--record", path]);
    for argv in SESSION {
        stage.run(argv);
    }
    // The last ping is over 3 s after its last request.
    events
        .wait_for("the last ping", |event| {
            event["type"] == "icmp" && event["peer"]["ip"] == "10.152.183.115"
        })
        .unwrap();
    // So that the recording, too, knows that time passed.
    stage.run(&["dig", "+tries=1", "the-end.example.com"]);
    let end = asked("the-end.example.com.", "A");
    events.wait_for("the end", end).unwrap();
    let (live, ended) = stopped(events);
    assert_eq!(ended.code, Some(0), "{:?}", ended.log);
    let sum = recorded(&ended);
    assert!(!sum.contains(';'), "something is missing: {sum}");

    // This kernel gives drops a reason, so that none here says that there was none.
    let bytes = fs::read(&recording).expect("a file");
    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains(" drops true"), "nothing on drops");

    // Other programs read the same in it.
    let report = testbed::tshark_diff::diff(program(), &recording).expect("both sides");
    assert_eq!(report.unexplained, Vec::<String>::new(), "{report}");
    assert!(report.compared > 8, "{report}");

    // The rest depends on when the run is stopped: the recording ends with it.
    let before_the_end = |event: &Value| !event.to_string().contains("the-end.example.com");
    let live: Vec<Value> = live.into_iter().filter(before_the_end).collect();
    let mut replayed = replay(&recording, &stage.lab.inventory_file());
    replayed.retain(before_the_end);
    let (expected, found) = (without_times(&live), without_times(&replayed));
    assert!(expected.len() > 20, "{}", listed(&live));
    let has_endpoint = |event: &&Value| !event["peer"]["backend"].is_null();
    assert!(
        live.iter().any(|event| has_endpoint(&event)),
        "{}",
        listed(&live)
    );
    for line in &expected {
        assert!(found.contains(line), "live and not replayed: {line}");
    }
    assert_eq!(found, expected);
    // Live times are the kernel's mapped to wall time when they are reported, a recording's when it is
    // written.
    for event in &live {
        let same = |other: &&Value| {
            without_times(std::slice::from_ref(other)) == without_times(std::slice::from_ref(event))
        };
        let alike: Vec<&Value> = replayed.iter().filter(same).collect();
        let close = |other: &&Value| {
            TIMES
                .into_iter()
                .filter(|key| !event[key].is_null())
                .all(|key| (nanoseconds(&other[key]) - nanoseconds(&event[key])).abs() < 1_000_000)
        };
        assert!(
            alike.iter().any(close),
            "{event} is not of the time of any of these: {alike:#?}"
        );
    }
}

#[test]
fn tshark_reads_a_recording_with_the_pods_names_in_its_comments() {
    let stage = Stage::new(ProxyMode::Iptables);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let recording = directory.path().join("run.pcapng");
    let path = recording.to_str().expect("text");
    let mut events = stage.events(&["--record", path]);
    let question = "clusterip-nginx-ds.default.svc.cluster.local.";
    stage.run(&["dig", question]);
    events.wait_for("the answer", asked(question, "A")).unwrap();
    // It is in the file at once, not only at the end.
    let deadline = std::time::Instant::now() + Duration::from_secs(5);
    while fs::metadata(&recording).expect("it is there").len() < 400 {
        assert!(std::time::Instant::now() < deadline, "nothing is written");
        std::thread::sleep(Duration::from_millis(20));
    }
    let (_, ended) = stopped(events);
    assert_eq!(ended.code, Some(0));
    let interface = stage.lab.host_interface(CLIENT).expect("its veth");
    let output = Command::new("tshark")
        .args([
            "-r",
            path,
            "-Y",
            "dns",
            "-T",
            "fields",
            "-E",
            "occurrence=f",
        ])
        .args(["-e", "frame.comment", "-e", "frame.interface_name"])
        .args(["-e", "dns.qry.name"])
        .output()
        .expect("tshark is needed for this test");
    let said = String::from_utf8(output.stdout).expect("text");
    let name = question.trim_end_matches('.');
    let line = format!("{CLIENT}\t{interface}\t{name}");
    assert_eq!(said.lines().collect::<Vec<_>>(), [&line, &line]);
}

#[test]
fn a_full_disk_is_reported_once_and_tracing_continues() {
    let stage = Stage::new(ProxyMode::Iptables);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let disk = directory.path().to_str().expect("text").to_owned();
    // A small disk that only this process sees.
    let script = format!(
        "mount -t tmpfs -o size=16k tmpfs {disk} && exec \"$@\" --record {disk}/run.pcapng"
    );
    let wrapper = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "sh",
        "-c",
        &script,
        "sh",
    ];
    let watch =
        testbed::watch::Watch::start_within(&stage.lab, &wrapper, program(), NODE, &["-o", "json"])
            .expect("the tracer starts");
    let mut events = Events::new(vec![watch]);
    for number in 0..150 {
        stage.run(&["dig", "+tries=1", &format!("name-{number}.example.com")]);
    }
    let last = "name-149.example.com.";
    events.wait_for("the last one", asked(last, "A")).unwrap();
    let (reported, ended) = stopped(events);
    assert_eq!(ended.code, Some(0), "{:?}", ended.log);
    let dns = reported
        .iter()
        .filter(|event| event["type"] == "dns")
        .count();
    assert!(dns >= 150, "{dns} of 150 exchanges were reported");
    let full = ended
        .log
        .iter()
        .filter(|line| line.contains("No space left on device"));
    assert_eq!(full.count(), 1, "{:?}", ended.log);
    let sum = recorded(&ended);
    assert!(sum.contains("records could not be written"), "{sum}");
}
