//! `soundcard`: an audio sink like those of real sound cards, with the clock that GStreamer derives
//! from the samples played. It plays `ppm` millionths too fast, as real cards do.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use gst::glib;
use gst::prelude::*;
use gst::subclass::prelude::*;
use gst_audio::subclass::prelude::*;

mod imp {
    use super::*;

    /// The state of the card. It starts to play with the first samples.
    #[derive(Default)]
    pub struct Card {
        /// The bytes of one sample of all channels, and the sample rate.
        pub frame_size: u64,
        pub rate: f64,
        /// Number of samples that the card can hold.
        pub room: u64,
        pub written: u64,
        pub started: Option<Instant>,
    }

    impl Card {
        /// Number of samples that are not played yet.
        fn delay(&self) -> f64 {
            let played = self.started.map_or(0.0, |started| {
                (started.elapsed().as_secs_f64() * self.rate).min(self.written as f64)
            });
            self.written as f64 - played
        }
    }

    #[derive(Default)]
    pub struct SoundCard {
        pub card: Mutex<Card>,
        pub ppm: Mutex<u32>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for SoundCard {
        const NAME: &'static str = "TestSoundCard";
        type Type = super::SoundCard;
        type ParentType = gst_audio::AudioSink;
    }

    impl ObjectImpl for SoundCard {
        fn properties() -> &'static [glib::ParamSpec] {
            static PROPERTIES: std::sync::LazyLock<Vec<glib::ParamSpec>> =
                std::sync::LazyLock::new(|| vec![glib::ParamSpecUInt::builder("ppm").build()]);
            &PROPERTIES
        }

        fn set_property(&self, _id: usize, value: &glib::Value, _pspec: &glib::ParamSpec) {
            *self.ppm.lock().expect("not poisoned") = value.get().expect("a number");
        }

        fn property(&self, _id: usize, _pspec: &glib::ParamSpec) -> glib::Value {
            self.ppm.lock().expect("not poisoned").to_value()
        }
    }

    impl GstObjectImpl for SoundCard {}

    impl ElementImpl for SoundCard {
        fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
            static METADATA: std::sync::LazyLock<gst::subclass::ElementMetadata> =
                std::sync::LazyLock::new(|| {
                    gst::subclass::ElementMetadata::new("Card", "Sink/Audio", "Plays", "xmem")
                });
            Some(&METADATA)
        }

        fn pad_templates() -> &'static [gst::PadTemplate] {
            static TEMPLATES: std::sync::LazyLock<Vec<gst::PadTemplate>> =
                std::sync::LazyLock::new(|| {
                    let caps = gst_audio::AudioCapsBuilder::new_interleaved()
                        .format(gst_audio::AUDIO_FORMAT_S16)
                        .build();
                    let template = gst::PadTemplate::new(
                        "sink",
                        gst::PadDirection::Sink,
                        gst::PadPresence::Always,
                        &caps,
                    );
                    vec![template.expect("a template")]
                });
            &TEMPLATES
        }
    }

    impl BaseSinkImpl for SoundCard {}
    impl AudioBaseSinkImpl for SoundCard {}

    impl AudioSinkImpl for SoundCard {
        fn prepare(
            &self,
            spec: &mut gst_audio::AudioRingBufferSpec,
        ) -> Result<(), gst::LoggableError> {
            let info = spec.audio_info();
            let ppm = f64::from(*self.ppm.lock().expect("not poisoned"));
            let frame_size = u64::from(info.bpf());
            *self.card.lock().expect("not poisoned") = Card {
                frame_size,
                rate: f64::from(info.rate()) * (1.0 + ppm / 1e6),
                room: u64::from(spec.segsize() as u32 * 2) / frame_size,
                ..Card::default()
            };
            Ok(())
        }

        fn unprepare(&self) -> Result<(), gst::LoggableError> {
            Ok(())
        }

        fn write(&self, bytes: &[u8]) -> Result<i32, gst::LoggableError> {
            loop {
                let too_much = {
                    let mut card = self.card.lock().expect("not poisoned");
                    let samples = bytes.len() as u64 / card.frame_size;
                    let too_much = card.delay() + samples as f64 - card.room as f64;
                    if too_much <= 0.0 {
                        card.started.get_or_insert_with(Instant::now);
                        card.written += samples;
                        return Ok(bytes.len() as i32);
                    }
                    too_much / card.rate
                };
                // Waits until the card has played that much.
                std::thread::sleep(Duration::from_secs_f64(too_much));
            }
        }

        fn delay(&self) -> u32 {
            self.card.lock().expect("not poisoned").delay() as u32
        }

        fn reset(&self) {
            let mut card = self.card.lock().expect("not poisoned");
            card.started = None;
            card.written = 0;
        }
    }
}

glib::wrapper! {
    pub struct SoundCard(ObjectSubclass<imp::SoundCard>)
        @extends gst_audio::AudioSink, gst_audio::AudioBaseSink, gst_base::BaseSink, gst::Element,
            gst::Object;
}

/// Registers the element in this process.
pub(crate) fn register() {
    let kind = SoundCard::static_type();
    gst::Element::register(None, "soundcard", gst::Rank::NONE, kind).expect("the element is new");
}
