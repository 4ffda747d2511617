//! What a schedule promises those who ask, tried with engines that follow a script.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serve::scripted::{Faults, ScriptedEngine, ScriptedModel, ScriptedQuestion, Watch, question};
use serve::{
    Ask, Client, Driver, Finish, ImageBytes, Metrics, Model, ModelCard, Part, Prompt, Refusal,
    RefusalKind, Replies, Schedule, ScheduleLimits, Usage,
};

const SLOW: Faults = Faults {
    step_time: Duration::from_millis(5),
    breaks_at: None,
    panics_at: None,
    room: usize::MAX,
    chunk: 512,
};

fn ask(text: &str, n: usize) -> Ask {
    Ask {
        n,
        ..question(text)
    }
}

/// A prompt of so many words that is said back.
fn words(count: usize) -> String {
    (0..count).map(|i| format!("w{i} ")).collect()
}

fn client(name: &str) -> Client {
    Client(name.to_owned())
}

struct Stage {
    schedule: Schedule,
    watch: Arc<Watch>,
    metrics: Arc<Metrics>,
}

impl Stage {
    /// An engine with these faults behind these limits, made again each time it breaks.
    fn new(limits: ScheduleLimits, faults: Faults) -> Stage {
        let (watch, metrics) = (Arc::<Watch>::default(), Arc::<Metrics>::default());
        let seen = Arc::clone(&watch);
        let body = move |mut driver: Driver<ScriptedQuestion>| {
            while driver
                .drive(&mut ScriptedEngine::watched(
                    faults.clone(),
                    Arc::clone(&seen),
                ))
                .is_err()
            {}
        };
        let model = Arc::new(ScriptedModel::echo("echo"));
        Stage {
            schedule: Schedule::start(model, limits, Arc::clone(&metrics), body),
            watch,
            metrics,
        }
    }

    async fn ask(&self, name: &str, text: &str) -> Result<Replies, Refusal> {
        self.schedule.ask(&client(name), ask(text, 1)).await
    }

    /// The value behind a line of the metrics that begins like this.
    fn metric(&self, start: &str) -> f64 {
        let text = self.metrics.text();
        let line = text.lines().find(|line| line.starts_with(start)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

/// All texts of a request and how it ended.
async fn read(mut replies: Replies, n: usize) -> Result<(Vec<String>, Usage), Refusal> {
    let mut texts = vec![String::new(); n];
    while let Some(event) = replies.next().await {
        let event = event?;
        texts[event.choice].push_str(&event.text);
    }
    Ok((texts, replies.usage()))
}

/// Waits until something that must come true does.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn all_replies_to_a_request_come_whole_and_are_counted_once() {
    for slots in [1, 2, 64] {
        let limits = ScheduleLimits {
            slots,
            ..ScheduleLimits::default()
        };
        let stage = Stage::new(limits, Faults::default());
        let replies = stage
            .schedule
            .ask(&client("a"), ask("one two three", 5))
            .await
            .unwrap();
        let (texts, usage) = read(replies, 5).await.unwrap();
        assert_eq!(texts, vec!["one two three"; 5]);
        let expected = Usage {
            prompt_tokens: 3,
            cached_tokens: 0,
            completion_tokens: 15,
        };
        assert_eq!(usage, expected);
        assert!(stage.watch.most_live.load(SeqCst) <= slots);
        // The same again is cached, but for what is not the prompt's.
        let replies = stage.ask("a", "one two three").await.unwrap();
        assert_eq!(read(replies, 1).await.unwrap().1.cached_tokens, 3);
        until("counted", || {
            stage.metric("math_llava_answered_requests_total") == 2.0
        })
        .await;
        assert_eq!(stage.metric("math_llava_prompt_tokens_total"), 6.0);
        assert_eq!(stage.metric("math_llava_cached_prompt_tokens_total"), 3.0);
        assert_eq!(stage.metric("math_llava_completion_tokens_total"), 18.0);
    }
}

#[tokio::test]
async fn a_dropped_request_leaves_the_engine_and_disturbs_no_other() {
    let stage = Stage::new(ScheduleLimits::default(), SLOW);
    let other = stage.ask("b", &words(60)).await.unwrap();
    let mut replies = stage
        .schedule
        .ask(&client("a"), ask(&words(3000), 3))
        .await
        .unwrap();
    replies.next().await.unwrap().unwrap();
    drop(replies);
    until("cancelled", || stage.watch.cancelled.load(SeqCst) == 3).await;
    assert_eq!(read(other, 1).await.unwrap().0, [words(60)]);
    assert_eq!(stage.watch.live.load(SeqCst), 0);
    assert_eq!(stage.metric("math_llava_cancelled_requests_total"), 1.0);
}

#[tokio::test]
async fn a_request_dropped_while_it_waits_frees_its_place() {
    let limits = ScheduleLimits {
        slots: 1,
        queue: 1,
        ..ScheduleLimits::default()
    };
    let stage = Stage::new(limits, SLOW);
    let mut live = stage.ask("a", &words(3000)).await.unwrap();
    live.next().await.unwrap().unwrap();
    let waiting = stage.ask("a", "waits").await.unwrap();
    assert_eq!(
        stage.ask("b", "is one too many").await.err().unwrap().kind,
        RefusalKind::Busy
    );
    drop(waiting);
    let next = stage.ask("b", "has room").await.unwrap();
    drop(live);
    assert_eq!(read(next, 1).await.unwrap().0, ["has room"]);
    assert_eq!(stage.watch.admitted.load(SeqCst), 2);
    assert_eq!(stage.metric("math_llava_cancelled_requests_total"), 2.0);
}

#[tokio::test]
async fn too_many_requests_are_refused_with_a_hint() {
    let limits = ScheduleLimits {
        slots: 1,
        queue: 3,
        queue_per_client: 2,
        ..ScheduleLimits::default()
    };
    let stage = Stage::new(limits, SLOW);
    let mut live = stage.ask("a", &words(3000)).await.unwrap();
    live.next().await.unwrap().unwrap();
    let mut waiting = vec![
        stage.ask("a", "1").await.unwrap(),
        stage.ask("a", "2").await.unwrap(),
    ];
    let own = stage.ask("a", "3").await.err().unwrap();
    assert_eq!(own.kind, RefusalKind::Busy);
    waiting.push(stage.ask("b", "1").await.unwrap());
    let all = stage.ask("c", "1").await.err().unwrap();
    assert_eq!(all.kind, RefusalKind::Busy);
    assert_ne!(own.message, all.message);
    assert!(stage.schedule.wait() >= Duration::from_secs(1));
    let busy = "math_llava_refused_requests_total{model=\"echo\",reason=\"busy\"}";
    assert_eq!(stage.metric(busy), 2.0);
    assert_eq!(stage.metric("math_llava_waiting_requests"), 3.0);
}

#[tokio::test]
async fn an_image_that_waits_counts_as_a_request() {
    let limits = ScheduleLimits {
        slots: 1,
        queue: 4,
        ..ScheduleLimits::default()
    };
    let stage = Stage::new(limits, SLOW);
    let mut live = stage.ask("a", &words(3000)).await.unwrap();
    live.next().await.unwrap().unwrap();
    let image = Part::Image(ImageBytes {
        bytes: bytes::Bytes::from_static(GIF),
    });
    let mut shown = ask("what is it", 1);
    let Prompt::Chat(turns) = &mut shown.prompt else {
        panic!("a chat")
    };
    turns[0].parts.extend(vec![image; 3]);
    let waits = stage.schedule.ask(&client("b"), shown).await.unwrap();
    let full = stage.ask("c", "no room").await.err().unwrap();
    assert_eq!(full.kind, RefusalKind::Busy);
    assert_eq!(stage.metric("math_llava_waiting_requests"), 1.0);
    assert_eq!(stage.metric("math_llava_images_total"), 3.0);
    drop(waits);
    stage.ask("c", "room").await.unwrap();
}

/// Ten by ten pixels, of which no decoder needs to see more than the head.
const GIF: &[u8] =
    b"GIF89a\x0a\0\x0a\0\x80\0\0\0\0\0\xff\xff\xff\x2c\0\0\0\0\x0a\0\x0a\0\0\x02\x02\x44\x01\0\x3b";

#[tokio::test]
async fn a_late_request_is_ended_whether_it_waits_or_is_written() {
    let limits = ScheduleLimits {
        slots: 1,
        request_time: Duration::from_millis(100),
        ..ScheduleLimits::default()
    };
    let stage = Stage::new(limits, SLOW);
    let live = stage.ask("a", &words(3000)).await.unwrap();
    let waits = stage.ask("a", "waits").await.unwrap();
    let (live, waits) = tokio::join!(read(live, 1), read(waits, 1));
    assert_eq!(live.unwrap_err().kind, RefusalKind::TimedOut);
    assert_eq!(waits.unwrap_err().kind, RefusalKind::TimedOut);
    until("left the engine", || stage.watch.live.load(SeqCst) == 0).await;
    let again = stage.ask("a", "is short").await.unwrap();
    assert_eq!(read(again, 1).await.unwrap().0, ["is short"]);
}

#[tokio::test]
async fn a_request_ends_in_time_while_the_engine_hangs() {
    let faults = Faults {
        step_time: Duration::from_secs(2),
        ..Faults::default()
    };
    let limits = ScheduleLimits {
        request_time: Duration::from_millis(50),
        ..ScheduleLimits::default()
    };
    let stage = Stage::new(limits, faults);
    let refusal = read(stage.ask("a", "one").await.unwrap(), 1).await;
    assert_eq!(refusal.unwrap_err().kind, RefusalKind::TimedOut);
    assert_eq!(
        stage.metric("math_llava_completion_tokens_total"),
        0.0,
        "the step is not over"
    );
}

#[tokio::test]
async fn a_broken_engine_is_replaced_and_those_that_wait_are_answered() {
    let limits = ScheduleLimits {
        slots: 1,
        ..ScheduleLimits::default()
    };
    let faults = Faults {
        breaks_at: Some(20),
        ..SLOW
    };
    let stage = Stage::new(limits, faults);
    let live = stage
        .schedule
        .ask(&client("a"), ask(&words(100), 3))
        .await
        .unwrap();
    let waits = stage.ask("b", "waits").await.unwrap();
    let (live, waits) = tokio::join!(read(live, 3), read(waits, 1));
    let refusal = live.unwrap_err();
    assert_eq!(refusal.kind, RefusalKind::Failed);
    assert!(refusal.message.contains("asked to break"), "{refusal}");
    assert_eq!(waits.unwrap().0, ["waits"]);
    assert_eq!(
        stage.watch.admitted.load(SeqCst),
        2,
        "the broken request's other replies are not begun"
    );
}

#[tokio::test]
async fn everything_is_refused_once_the_engines_thread_has_ended() {
    let limits = ScheduleLimits {
        slots: 1,
        ..ScheduleLimits::default()
    };
    let panics = Faults {
        panics_at: Some(20),
        ..SLOW
    };
    let stage = Stage::new(limits.clone(), panics);
    let live = stage.ask("a", &words(3000)).await.unwrap();
    let waits = stage.ask("b", "waits").await.unwrap();
    let (live, waits) = tokio::join!(read(live, 1), read(waits, 1));
    assert_eq!(live.unwrap_err().kind, RefusalKind::Failed);
    assert_eq!(waits.unwrap_err().kind, RefusalKind::Failed);
    stage.schedule.stopped().await;
    assert_eq!(
        stage.ask("c", "late").await.err().unwrap().kind,
        RefusalKind::Failed
    );

    let returns = |_: Driver<ScriptedQuestion>| {};
    let model = Arc::new(ScriptedModel::echo("echo"));
    let schedule = Schedule::start(model, limits, Arc::default(), returns);
    schedule.stopped().await;
    let late = schedule.ask(&client("a"), ask("late", 1)).await;
    assert_eq!(late.err().unwrap().kind, RefusalKind::Failed);
}

#[tokio::test]
async fn a_thread_that_survives_a_panic_goes_on_with_those_that_wait() {
    let watch = Arc::<Watch>::default();
    let seen = Arc::clone(&watch);
    let body = move |mut driver: Driver<ScriptedQuestion>| {
        let faults = Faults {
            panics_at: Some(10),
            ..SLOW
        };
        loop {
            let mut engine = ScriptedEngine::watched(faults.clone(), Arc::clone(&seen));
            let drive = std::panic::AssertUnwindSafe(|| driver.drive(&mut engine));
            if matches!(std::panic::catch_unwind(drive), Ok(Ok(()))) {
                return;
            }
        }
    };
    let limits = ScheduleLimits {
        slots: 1,
        ..ScheduleLimits::default()
    };
    let model = Arc::new(ScriptedModel::echo("echo"));
    let schedule = Schedule::start(model, limits, Arc::default(), body);
    let live = schedule
        .ask(&client("a"), ask(&words(3000), 1))
        .await
        .unwrap();
    let waits = schedule.ask(&client("b"), ask("waits", 1)).await.unwrap();
    let (live, waits) = tokio::join!(read(live, 1), read(waits, 1));
    assert_eq!(live.unwrap_err().kind, RefusalKind::Failed);
    assert_eq!(waits.unwrap().0, ["waits"]);
}

#[tokio::test]
async fn a_stop_lets_live_replies_end_and_refuses_the_rest() {
    let limits = ScheduleLimits {
        slots: 2,
        ..ScheduleLimits::default()
    };
    let stage = Stage::new(limits, SLOW);
    // Of its three replies one has no slot yet.
    let mut live = stage
        .schedule
        .ask(&client("a"), ask(&words(30), 3))
        .await
        .unwrap();
    live.next().await.unwrap().unwrap();
    let waits = stage.ask("a", "waits").await.unwrap();
    stage.schedule.stop();
    assert_eq!(
        read(waits, 1).await.unwrap_err().kind,
        RefusalKind::Stopping
    );
    assert_eq!(
        stage.ask("b", "late").await.err().unwrap().kind,
        RefusalKind::Stopping
    );
    let (texts, usage) = read(live, 3).await.unwrap();
    assert_eq!(texts[1..], [words(30), words(30)]);
    assert_eq!(usage.completion_tokens, 90);
    stage.schedule.stopped().await;
}

#[tokio::test]
async fn a_reply_waits_for_memory_while_others_hold_it() {
    let faults = Faults {
        room: 2,
        ..Faults::default()
    };
    let (room, none) = (
        Stage::new(ScheduleLimits::default(), faults.clone()),
        Faults { room: 0, ..faults },
    );
    let replies = room
        .schedule
        .ask(&client("a"), ask(&words(30), 5))
        .await
        .unwrap();
    assert_eq!(read(replies, 5).await.unwrap().0, vec![words(30); 5]);
    assert_eq!(room.watch.most_live.load(SeqCst), 2);
    let none = Stage::new(ScheduleLimits::default(), none);
    let refusal = read(none.ask("a", "one").await.unwrap(), 1).await;
    assert_eq!(refusal.unwrap_err().kind, RefusalKind::Busy);
}

/// A model that panics while it reads what it is asked.
struct Panics(ModelCard);

impl Model for Panics {
    type Question = ScriptedQuestion;

    fn card(&self) -> &ModelCard {
        &self.0
    }

    fn prepare(&self, _: &Ask) -> Result<ScriptedQuestion, Refusal> {
        panic!("asked to")
    }
}

#[tokio::test]
async fn a_panic_while_a_request_is_read_is_that_requests_alone() {
    let model = Arc::new(Panics(ScriptedModel::echo("panics").card().clone()));
    let limits = ScheduleLimits {
        preparing: 1,
        queue: 1,
        ..ScheduleLimits::default()
    };
    let body = |mut driver: Driver<ScriptedQuestion>| {
        driver.drive(&mut ScriptedEngine::default()).unwrap();
    };
    let schedule = Schedule::start(model, limits, Arc::default(), body);
    for _ in 0..3 {
        let refusal = schedule
            .ask(&client("a"), ask("one", 1))
            .await
            .err()
            .unwrap();
        assert_eq!(
            refusal.kind,
            RefusalKind::Failed,
            "its place and its turn are free again"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_have_the_same_share_however_much_each_asks() {
    let limits = ScheduleLimits {
        slots: 4,
        ..ScheduleLimits::default()
    };
    let stage = Arc::new(Stage::new(
        limits,
        Faults {
            step_time: Duration::from_millis(1),
            ..Faults::default()
        },
    ));
    // One has 200 requests waiting before the others come with 10 each.
    let mut flood = Vec::new();
    for _ in 0..200 {
        flood.push(stage.ask("flood", &words(20)).await.unwrap());
    }
    let others = (0..4).map(|i| {
        let stage = Arc::clone(&stage);
        tokio::spawn(async move {
            for _ in 0..10 {
                let replies = stage.ask(&format!("other {i}"), &words(20)).await.unwrap();
                read(replies, 1).await.unwrap();
            }
        })
    });
    for other in others.collect::<Vec<_>>() {
        other.await.unwrap();
    }
    let admitted = stage.watch.admitted.load(SeqCst);
    assert!(
        admitted < 120,
        "with the same share the flood has had some 20 turns when the others are done, and {} it had",
        admitted - 40
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_cancelled_requests_leave_nothing() {
    let stage = Arc::new(Stage::new(
        ScheduleLimits {
            slots: 16,
            queue: 2000,
            queue_per_client: 2000,
            ..ScheduleLimits::default()
        },
        Faults {
            step_time: Duration::from_millis(1),
            ..Faults::default()
        },
    ));
    let tasks: Vec<_> = (0..1000)
        .map(|i: usize| {
            let stage = Arc::clone(&stage);
            tokio::spawn(async move {
                let mut replies = stage
                    .ask(&format!("client {}", i % 7), &words(2000))
                    .await
                    .unwrap();
                // Some go while they wait, some after a few tokens.
                let patience = tokio::time::sleep(Duration::from_millis(i as u64 % 50));
                tokio::pin!(patience);
                for _ in 0..i % 5 {
                    tokio::select! {
                        _ = &mut patience => break,
                        event = replies.next() => { event.unwrap().unwrap(); }
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    until("nothing live", || stage.watch.live.load(SeqCst) == 0).await;
    until("all counted", || {
        stage.metric("math_llava_cancelled_requests_total") == 1000.0
    })
    .await;
    assert_eq!(stage.metric("math_llava_waiting_requests"), 0.0);
    assert_eq!(stage.metric("math_llava_live_replies"), 0.0);
    let replies = stage.ask("a", "still there").await.unwrap();
    assert_eq!(read(replies, 1).await.unwrap().0, ["still there"]);
}

#[tokio::test]
async fn an_idle_engine_is_not_stepped() {
    let stage = Stage::new(ScheduleLimits::default(), Faults::default());
    read(stage.ask("a", "one two").await.unwrap(), 1)
        .await
        .unwrap();
    let steps = stage.watch.steps.load(SeqCst);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(stage.watch.steps.load(SeqCst), steps);
    assert_eq!(steps, 3);
}

#[tokio::test]
async fn an_engine_that_loses_a_reply_does_not_keep_its_client_waiting() {
    struct Loses(ScriptedEngine);
    impl serve::Engine<ScriptedQuestion> for Loses {
        fn admit(
            &mut self,
            q: &ScriptedQuestion,
            choice: usize,
        ) -> Result<serve::EngineId, Refusal> {
            let id = self.0.admit(q, choice)?;
            self.0.cancel(id).unwrap();
            Ok(id)
        }
        fn step(&mut self) -> Result<Vec<serve::Step>, serve::Fault> {
            self.0.step()
        }
        fn cancel(&mut self, id: serve::EngineId) -> Result<(), serve::Fault> {
            self.0.cancel(id)
        }
        fn is_idle(&self) -> bool {
            self.0.is_idle()
        }
        fn counts(&self) -> serve::Counts {
            self.0.counts()
        }
    }
    let body = |mut driver: Driver<ScriptedQuestion>| {
        driver.drive(&mut Loses(ScriptedEngine::default())).unwrap();
    };
    let model = Arc::new(ScriptedModel::echo("echo"));
    let schedule = Schedule::start(model, ScheduleLimits::default(), Arc::default(), body);
    let replies = schedule.ask(&client("a"), ask("one", 1)).await.unwrap();
    assert_eq!(
        read(replies, 1).await.unwrap_err().kind,
        RefusalKind::Failed
    );
}

#[tokio::test]
async fn finishes_are_told_apart() {
    let stage = Stage::new(ScheduleLimits::default(), Faults::default());
    for (max_tokens, finish) in [(None, Finish::Stop), (Some(2), Finish::Length)] {
        let request = Ask {
            max_tokens,
            ..ask("one two three", 1)
        };
        let mut replies = stage.schedule.ask(&client("a"), request).await.unwrap();
        let mut last = None;
        while let Some(event) = replies.next().await {
            last = event.unwrap().finish;
        }
        assert_eq!(last, Some(finish));
    }
}

/// A model that reads what it is asked when it is told to.
struct Patient {
    inner: ScriptedModel,
    begun: AtomicUsize,
    go: Mutex<Receiver<()>>,
}

impl Model for Patient {
    type Question = ScriptedQuestion;

    fn card(&self) -> &ModelCard {
        self.inner.card()
    }

    fn prepare(&self, ask: &Ask) -> Result<ScriptedQuestion, Refusal> {
        self.begun.fetch_add(1, SeqCst);
        self.go.lock().unwrap().recv().unwrap();
        self.inner.prepare(ask)
    }
}

#[tokio::test]
async fn a_request_that_is_being_read_can_be_given_up_be_late_and_be_stopped() {
    let (go, wait) = channel();
    let model = Arc::new(Patient {
        inner: ScriptedModel::echo("patient"),
        begun: AtomicUsize::new(0),
        go: Mutex::new(wait),
    });
    let limits = ScheduleLimits {
        preparing: 1,
        queue: 2,
        request_time: Duration::from_millis(300),
        ..ScheduleLimits::default()
    };
    let body = |mut driver: Driver<ScriptedQuestion>| {
        driver.drive(&mut ScriptedEngine::default()).unwrap();
    };
    let schedule = Schedule::start(Arc::clone(&model), limits, Arc::default(), body);
    let client = client("a");
    let request = |text: &str| schedule.ask(&client, ask(text, 1));

    // Two have places: one is read, one waits to be. A third has none, until the first is given up.
    let mut read_now = Box::pin(request("one"));
    let mut read_next = Box::pin(request("two"));
    let polled = async {
        tokio::select! { _ = &mut read_now => 1, _ = &mut read_next => 2 }
    };
    let brief = Duration::from_millis(100);
    assert!(tokio::time::timeout(brief, polled).await.is_err());
    assert_eq!(model.begun.load(SeqCst), 1);
    let third = request("three").await.err().unwrap();
    assert_eq!(third.kind, RefusalKind::Busy);
    drop(read_now);

    // It is still being read, so that the second's time ends before its turn.
    let late = read_next.await.err().unwrap();
    assert_eq!(late.kind, RefusalKind::TimedOut);
    assert_eq!(model.begun.load(SeqCst), 1);

    // The next is read after the first, and then there is a stop.
    go.send(()).unwrap();
    let stopped = async {
        until("it is read", || model.begun.load(SeqCst) == 2).await;
        schedule.stop();
        go.send(()).unwrap();
    };
    let (refused, ()) = tokio::join!(request("four"), stopped);
    assert_eq!(refused.err().unwrap().kind, RefusalKind::Stopping);
    schedule.stopped().await;
}
