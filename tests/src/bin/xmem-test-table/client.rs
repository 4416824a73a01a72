//! A client process: plays a pipeline, and observes its sources and sinks.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use gst::prelude::*;
use rustix::process::{Resource, Rlimit, setrlimit};
use xmem_tests::roles::parent::{self, tell};
use xmem_tests::roles::{self, Result, pipeline};

use crate::figures::Figures;
use crate::judge::BROKEN;
use crate::picture::Reference;
use crate::problems;
use crate::sink_watch::{Look, SinkWatch};
use crate::source_watch::SourceWatch;
use crate::webrtc;

/// The size of the compared pictures.
const PICTURE: (usize, usize) = (320, 240);

/// For how long a stream is interrupted; about as long as the replacement of a producer takes.
const HOLE: Duration = Duration::from_millis(200);

/// How long a pipeline may take to play after a pause.
const SETTLING: gst::ClockTime = gst::ClockTime::from_seconds(10);

/// The limit of the memory of a client, in bytes.
const MEMORY: u64 = 2 << 30;

/// How long EOS may take to reach the sinks.
const EOS_PATIENCE: Duration = Duration::from_secs(5);

/// Runs a client until its standard input ends. The source pads of the elements `sources` are
/// observed, and all sinks. `look` says what is checked in the buffers that arrive at sinks whose
/// names begin with `out`.
///
/// | order | action and report |
/// |---|---|
/// | `play` | creates and plays the pipeline: `playing` |
/// | `report` | [`Figures`] since the last mark: `figures` |
/// | `mark` | starts new figures: `marked` |
/// | `switch` | as `mark`, and sets each source to the channel of its name and a `2`: `switched` |
/// | `interrupt` | valves drop everything for a while: `interrupted` |
/// | `pause` | pauses and plays the pipeline: `paused` |
/// | `flush` | flushes each source: `flushed` |
/// | `eos` | sends EOS, and waits for it at the sinks: `ended` |
/// | `stop` | stops the pipeline; the next order is `play`: `stopped` |
pub fn main(look: &str, sources: &str, description: &str) -> Result<()> {
    problems::collect();
    // Elements that fill gaps of a stream may find a gap of centuries.
    let most = Rlimit {
        current: Some(MEMORY),
        maximum: Some(MEMORY),
    };
    setrlimit(Resource::Data, most)?;
    gst::init()?;
    let look = match look {
        "pictures" => Look::Pictures(Arc::new(Reference::draw(PICTURE.0, PICTURE.1)?)),
        "sound" => Look::Sound,
        _ => Look::Arrival,
    };
    let mut run = None;
    for order in parent::orders() {
        if order == "play" {
            let started = Run::start(&look, sources, description);
            run = Some(started.map_err(|error| format!("{BROKEN}: {error}"))?);
            continue;
        }
        let played = run.as_mut().ok_or("an order before \"play\"")?;
        match order.as_str() {
            "report" => tell("figures", played.figures().to_line()),
            "mark" => {
                played.mark();
                tell("marked", "");
            }
            "switch" => {
                played.mark();
                for source in &played.sources {
                    if let Some(element) = played.pipeline.by_name(&source.name) {
                        let channel = format!("{}2", source.name);
                        element.set_property("channel", channel);
                    }
                }
                tell("switched", "");
            }
            "interrupt" => {
                let set = |drop: bool| {
                    let valves = played.pipeline.iterate_all_by_element_factory_name("valve");
                    let valves = valves.into_iter().flatten();
                    valves.for_each(|valve| valve.set_property("drop", drop));
                };
                set(true);
                std::thread::sleep(HOLE);
                set(false);
                tell("interrupted", "");
            }
            "pause" => {
                for state in [gst::State::Paused, gst::State::Playing] {
                    if played.pipeline.set_state(state).is_err() {
                        problems::add(format!("it does not change to {state:?}"));
                    }
                    if state == gst::State::Paused {
                        played.sources.iter().for_each(|source| source.pause());
                    }
                }
                // An event that is sent to a pipeline on its way to PLAYING can keep it from
                // getting there, uncut as well: both need the state lock.
                if played.pipeline.state(SETTLING).0.is_err() {
                    problems::add("it does not play after a pause".into());
                }
                tell("paused", "");
            }
            "flush" => {
                for source in &played.sources {
                    source.forget_time();
                    if let Some(element) = played.pipeline.by_name(&source.name) {
                        element.send_event(gst::event::FlushStart::new());
                        element.send_event(gst::event::FlushStop::new(true));
                    }
                }
                tell("flushed", "");
            }
            "eos" => {
                played.end_stream();
                tell("ended", "");
            }
            "stop" => {
                if let Some(run) = run.take() {
                    pipeline::stop(run.pipeline)?;
                }
                tell("stopped", "");
            }
            other => return Err(format!("unknown order {other:?}").into()),
        }
    }
    run.map_or(Ok(()), |run| pipeline::stop(run.pipeline))
}

/// A pipeline that is played.
struct Run {
    pipeline: gst::Pipeline,
    sources: Vec<Arc<SourceWatch>>,
    sinks: Arc<Mutex<Vec<Arc<SinkWatch>>>>,
    /// The time of the last mark on `CLOCK_MONOTONIC`.
    marked_at: u64,
    missed_before: u64,
    early_before: u64,
    copied_before: u64,
    eos: Receiver<()>,
}

impl Run {
    fn start(look: &Look, sources: &str, description: &str) -> Result<Run> {
        let (ended, eos) = mpsc::channel();
        let (wanted, latency) = mpsc::channel();
        let pipeline = pipeline::launch(description, posted(ended, wanted))?;
        recalculate_latency(&pipeline, latency)?;
        webrtc::connect(&pipeline)?;
        let sources = sources
            .split(',')
            .map(|name| {
                let pad = pipeline::pad(&pipeline, name, "src")?;
                Ok(SourceWatch::start(name, &pad))
            })
            .collect::<Result<Vec<_>>>()?;
        let sinks = watch_sinks(&pipeline, look, &sources);
        let run = Run {
            pipeline,
            sources,
            sinks,
            marked_at: roles::monotonic_ns(),
            missed_before: 0,
            early_before: 0,
            copied_before: 0,
            eos,
        };
        if run.pipeline.set_state(gst::State::Playing).is_err() {
            problems::add("it does not play".into());
        }
        tell("playing", "");
        Ok(run)
    }

    fn sinks(&self) -> Vec<Arc<SinkWatch>> {
        let sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        sinks.clone()
    }

    fn mark(&mut self) {
        self.missed_before = self.statistic("missed");
        self.early_before = self.statistic("early");
        self.copied_before = self.statistic("copied");
        self.marked_at = roles::monotonic_ns();
        self.sources.iter().for_each(|source| source.mark());
        self.sinks().iter().for_each(|sink| sink.mark());
    }

    /// A value of the sources' statistics, summed; 0 if they have none of that name.
    fn statistic(&self, name: &str) -> u64 {
        let figures = self.sources.iter().map(|source| {
            let element = self.pipeline.by_name(&source.name)?;
            element.find_property("stats")?;
            let stats = element.property::<gst::Structure>("stats");
            stats.get::<u64>(name).ok()
        });
        figures.flatten().sum()
    }

    fn figures(&self) -> Figures {
        let seen: Vec<_> = self.sources.iter().map(|source| source.seen()).collect();
        let sinks = self.sinks();
        // If sinks have names of rows, other sinks are inside elements.
        let named = sinks.iter().any(|sink| sink.name.starts_with("out"));
        let sinks = sinks
            .iter()
            .filter(|sink| !named || sink.name.starts_with("out"));
        let arrived: Vec<_> = sinks.map(|sink| sink.seen()).collect();
        // An element may create sinks of its own that receive nothing, so the first buffer at any
        // sink counts.
        let first_out = arrived.iter().map(|sink| sink.first_at);
        let first_out = if named {
            first_out
                .collect::<Option<Vec<_>>>()
                .map(|all| all.into_iter().max())
        } else {
            Some(first_out.flatten().min())
        };
        let outs = arrived.iter().map(|sink| sink.buffers);
        let after = |at: u64| at.saturating_sub(self.marked_at) / 1_000_000;
        let missed = self.statistic("missed").saturating_sub(self.missed_before);
        // Frames that ended before the start of the pipeline are not shown.
        let early = self.statistic("early").saturating_sub(self.early_before);
        let not_there: u64 = seen.iter().map(|seen| seen.missed).sum();
        Figures {
            ins: seen.iter().map(|seen| seen.buffers).collect(),
            outs: if named {
                outs.collect()
            } else {
                vec![outs.sum()]
            },
            missed: missed.max(not_there.saturating_sub(early)),
            copied: self.statistic("copied").saturating_sub(self.copied_before),
            first_running: seen.iter().filter_map(|seen| seen.first_running).min(),
            least_running: seen.iter().filter_map(|seen| seen.least_running).min(),
            below_zero: seen.iter().map(|seen| seen.below_zero).sum(),
            backwards: seen.iter().map(|seen| seen.backwards).sum(),
            segments: seen.iter().map(|seen| seen.segments).max().unwrap_or(0),
            first_in: seen
                .iter()
                .filter_map(|seen| seen.first_at)
                .max()
                .map(after),
            first_out: first_out.flatten().map(after),
            looked_at: arrived.iter().map(|sink| sink.looked_at).sum(),
            wrong: arrived.iter().map(|sink| sink.wrong).sum(),
            first_wrong: arrived.iter().find_map(|sink| sink.first_wrong.clone()),
            lag: arrived.iter().map(|sink| sink.lag).max().unwrap_or(0),
            problems: problems::take(),
        }
    }

    fn end_stream(&mut self) {
        self.pipeline.send_event(gst::event::Eos::new());
        if self.eos.recv_timeout(EOS_PATIENCE).is_err() {
            problems::add("EOS does not reach the sinks".into());
        }
    }
}

/// Handles messages of the bus, in the thread that posts them.
fn posted(ended: Sender<()>, wanted: Sender<()>) -> impl Fn(&gst::Message) + Send + Sync + 'static {
    move |message| {
        problems::see(message);
        // When the run is over, the receiver of the channel is gone.
        let _ = match message.view() {
            gst::MessageView::Eos(_) => ended.send(()),
            gst::MessageView::Latency(_) => wanted.send(()),
            _ => Ok(()),
        };
    }
}

/// Recalculates the latency when an element's latency has changed, as every application does. A
/// streaming thread cannot do that, because it would wait for itself.
fn recalculate_latency(pipeline: &gst::Pipeline, wanted: Receiver<()>) -> Result<()> {
    let pipeline = pipeline.downgrade();
    let thread = std::thread::Builder::new().name("latency".into());
    thread.spawn(move || {
        while wanted.recv().is_ok() {
            let Some(pipeline) = pipeline.upgrade() else {
                return;
            };
            // The call fails if an element was just removed, and will be requested again.
            let _ = pipeline.recalculate_latency();
        }
    })?;
    Ok(())
}

/// Watches all existing sinks, and all that are added later.
fn watch_sinks(
    pipeline: &gst::Pipeline,
    look: &Look,
    sources: &[Arc<SourceWatch>],
) -> Arc<Mutex<Vec<Arc<SinkWatch>>>> {
    let watches = Arc::new(Mutex::new(Vec::new()));
    let (look, sources, kept) = (look.clone(), sources.to_vec(), watches.clone());
    let watch = move |element: &gst::Element| {
        let is_sink = element.element_flags().contains(gst::ElementFlags::SINK);
        if !is_sink || element.is::<gst::Bin>() {
            return;
        }
        let Some(pad) = element.static_pad("sink") else {
            return;
        };
        let name = element.name().to_string();
        let look = if name.starts_with("out") {
            look.clone()
        } else {
            Look::Arrival
        };
        let watch = SinkWatch::start(name, &pad, look, sources.clone());
        kept.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(watch);
    };
    pipeline
        .iterate_recurse()
        .into_iter()
        .flatten()
        .for_each(|element| watch(&element));
    pipeline.connect_deep_element_added(move |_, _, element| watch(element));
    watches
}
