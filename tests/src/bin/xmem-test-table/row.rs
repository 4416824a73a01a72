//! A row of the table: a downstream pipeline, its streams, and what is judged.

use crate::streams::Stream;

/// The topic of a row. The short names are those of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Latency, frame rates, sizes of buffers.
    Timed,
    /// Elements that hold many buffers, or drop some.
    Gathering,
    /// Elements that combine streams, behind a client that joins late.
    Joining,
    /// Every other element of the registry that combines streams.
    Registry,
    /// Compressed and container streams, joined late.
    Compressed,
    /// A producer whose clock is not the system clock.
    Drifting,
}

impl Group {
    pub const ALL: [Group; 6] = [
        Group::Timed,
        Group::Gathering,
        Group::Joining,
        Group::Compressed,
        Group::Drifting,
        Group::Registry,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Group::Timed => "timed",
            Group::Gathering => "gathering",
            Group::Joining => "joining",
            Group::Registry => "registry",
            Group::Compressed => "compressed",
            Group::Drifting => "drifting",
        }
    }
}

/// What is compared in the buffers that arrive at the sinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Arrival,
    Pictures,
    Sound,
}

/// A row before it is run.
#[derive(Clone, Debug)]
pub struct Row {
    pub group: Group,
    /// The name of the downstream pipeline in the table.
    pub downstream: String,
    /// The streams, by their names in `client`.
    pub streams: Vec<(&'static str, Stream)>,
    /// The pipeline of the client. `{v}` is the stream `v`, cut or not; `{caps}` are the caps of
    /// the first stream, and `{dir}` is a directory for files.
    pub client: String,
    pub look: Look,
    /// For how long each phase is watched, in seconds.
    pub seconds: u64,
    /// How many times a client joins late, in sequence.
    pub joins: u32,
    /// Whether the row is in the short form.
    pub short: bool,
    /// Whether the row needs the machine for itself.
    pub heavy: bool,
    /// Whether clients send EOS before they stop.
    pub ends: bool,
    /// Whether nothing reaches the sinks before EOS, as uncut.
    pub silent: bool,
    /// The largest allowed number of frames that left the source after the frame that arrives at a
    /// sink.
    pub most_lag: Option<u64>,
    /// How much too fast the clock of the producer is, in millionths.
    pub ppm: i64,
    /// Further elements that the row needs, which it does not name.
    pub needs: Vec<&'static str>,
    /// Streams to use instead of the row's one stream, if the uncut pipeline cannot handle that.
    pub instead: Vec<Stream>,
    /// The stream that is switched to, if it is of another kind.
    pub other: Option<Stream>,
    /// Whether the stream of another producer is recognised as another chain: a demuxer creates new
    /// pads for it, and decodebin3 aborts (GStreamer 1.26 and 1.28), uncut as well.
    pub is_chain: bool,
    /// Whether its elements fail before their streams begin, uncut as well. The stream of a channel
    /// begins late if the client started first.
    pub begins_late: bool,
}

impl Row {
    /// A row with the usual settings.
    pub fn new(
        group: Group,
        downstream: impl Into<String>,
        streams: &[(&'static str, Stream)],
        client: impl Into<String>,
    ) -> Row {
        Row {
            group,
            downstream: downstream.into(),
            streams: streams.to_vec(),
            client: client.into(),
            look: Look::Arrival,
            seconds: 2,
            joins: 1,
            short: false,
            heavy: false,
            ends: [Group::Joining, Group::Registry].contains(&group),
            silent: false,
            most_lag: None,
            ppm: 0,
            needs: Vec::new(),
            instead: Vec::new(),
            other: None,
            is_chain: false,
            begins_late: false,
        }
    }

    pub fn short(mut self) -> Row {
        self.short = true;
        self
    }

    pub fn seconds(mut self, seconds: u64) -> Row {
        self.seconds = seconds;
        self
    }

    pub fn joins(mut self, joins: u32) -> Row {
        self.joins = joins;
        self
    }

    pub fn look(mut self, look: Look) -> Row {
        self.look = look;
        self
    }

    pub fn most_lag(mut self, frames: u64) -> Row {
        self.most_lag = Some(frames);
        self
    }

    pub fn ppm(mut self, ppm: i64) -> Row {
        self.ppm = ppm;
        self
    }

    pub fn needs(mut self, elements: &[&'static str]) -> Row {
        self.needs.extend(elements);
        self
    }

    pub fn instead(mut self, streams: &[Stream]) -> Row {
        self.instead.extend(streams);
        self
    }

    pub fn other(mut self, other: Stream) -> Row {
        self.other = Some(other);
        self
    }

    pub fn chain(mut self) -> Row {
        self.is_chain = true;
        self
    }

    pub fn begins_late(mut self) -> Row {
        self.begins_late = true;
        self
    }

    /// The name of the streams in the table.
    pub fn stream(&self) -> String {
        let mut labels: Vec<&str> = self.streams.iter().map(|(_, it)| it.label).collect();
        labels.dedup();
        let clock = match self.ppm {
            0 => String::new(),
            ppm => format!(", clock {ppm:+} ppm"),
        };
        labels.join(" and ") + &clock
    }

    /// The title of the row, for messages and for `--only`.
    pub fn title(&self) -> String {
        format!(
            "{}: {} <- {}",
            self.group.name(),
            self.downstream,
            self.stream()
        )
    }

    /// The names of the streams, for the client process.
    pub fn sources(&self) -> String {
        let names: Vec<&str> = self.streams.iter().map(|(name, _)| *name).collect();
        names.join(",")
    }

    /// The pipeline of the producer; `suffix` is appended to the names of its channels. `number`
    /// distinguishes its frames from those of other producers: it is part of the sinks' names,
    /// which are in each frame's record.
    pub fn producer(&self, suffix: &str, number: &str) -> String {
        let branches = self.streams.iter().map(|(name, stream)| {
            let stream = match (&self.other, suffix) {
                (Some(other), "2") => other,
                _ => stream,
            };
            format!(
                "{} ! xmemsink name=producer-{number}-{name} channel={name}{suffix}",
                stream.producer
            )
        });
        branches.collect::<Vec<_>>().join(" ")
    }

    /// The pipeline of the client behind the cut.
    pub fn cut(&self, directory: &str) -> String {
        self.described(directory, |name, _| {
            format!("xmemsrc name={name} channel={name}")
        })
    }

    /// The uncut pipeline with streams that can be interrupted, or that others follow.
    pub fn interruptible(&self, directory: &str) -> String {
        self.described(directory, |name, stream| {
            let producer = stream.producer;
            let stream = if self.is_chain {
                let first = producer.replacen("is-live=true", "is-live=true num-buffers=30", 1);
                format!("{first} ! {name}-all. {producer} ! {name}-all. concat name={name}-all")
            } else {
                format!("{producer} ! valve")
            };
            format!("{stream} ! identity name={name} silent=true")
        })
    }

    /// The uncut pipeline.
    pub fn uncut(&self, directory: &str) -> String {
        self.described(directory, |name, stream| {
            let producer = if self.begins_late {
                "appsrc is-live=true format=time"
            } else {
                stream.producer
            };
            format!("{producer} ! identity name={name} silent=true")
        })
    }

    fn described(&self, directory: &str, source: impl Fn(&str, &Stream) -> String) -> String {
        let mut client = self.client.replace("{dir}", directory);
        if let Some((_, stream)) = self.streams.first() {
            client = client.replace("{caps}", stream.caps);
        }
        for (name, stream) in &self.streams {
            client = client.replace(&format!("{{{name}}}"), &source(name, stream));
        }
        client
    }

    /// The elements of both pipelines.
    pub fn elements(&self) -> Vec<String> {
        let uncut = self.uncut("");
        let words = uncut.split(['!', ' ']).filter(|word| is_element(word));
        let words = words.chain(self.needs.iter().copied());
        words.map(str::to_owned).collect()
    }
}

/// Whether a word of a description is an element: not a property, caps or a pad.
fn is_element(word: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
    word.starts_with(|letter: char| letter.is_ascii_alphabetic()) && word.chars().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams::PICTURES_30;

    #[test]
    fn a_row_is_cut_where_its_stream_is_named() {
        let row = Row::new(
            Group::Joining,
            "compositor",
            &[("v", PICTURES_30)],
            "{v} ! m. compositor name=m ! video/x-raw,width=8 ! filesink name=out location={dir}/a",
        );
        assert_eq!(
            row.cut("/d"),
            "xmemsrc name=v channel=v ! m. compositor name=m ! video/x-raw,width=8 ! \
             filesink name=out location=/d/a"
        );
        assert!(row.uncut("/d").contains("framerate=30/1 ! identity name=v"));
        let producer = row.producer("2", "7");
        assert!(producer.ends_with("! xmemsink name=producer-7-v channel=v2"));
        let elements = row.elements();
        assert_eq!(
            elements,
            ["videotestsrc", "identity", "compositor", "filesink"]
        );
    }
}
