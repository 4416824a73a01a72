//! What a model has seen in a picture, and how one thing is related to another.

use super::pixels::Mask;
use super::tensor::Tensor;
use crate::decoder::Decoder;
use crate::encoder::Encoder;
use crate::error::{InvalidValue, check};
use crate::field::{Field, Result, plain, records};
use crate::value::Text;

records! {
    /// The kinds of things. The numbers are part of the protocol.
    kinds thing;
    /// A thing that was seen in a picture, or is known of one.
    enum Thing;
    /// An object, and where it is.
    1 OBJECT Object(Object);
    /// The classes that something may be of.
    2 CLASSES Classes(Classes);
    /// An object that is followed from picture to picture.
    3 TRACKING Tracking(Tracking);
    /// Which pixels belong to which region.
    4 SEGMENTATION Segmentation(Segmentation);
    /// A tensor.
    5 TENSOR Tensor(Tensor);
}

plain! {
    /// Things that were seen in a picture. A thing's number is how many are before it.
    Analytics(Analytics::check) {
        /// The things.
        things: Vec<Thing> [Analytics::MAX_THINGS],
        /// How they are related.
        relations: Vec<Relation>,
    }
    /// How one thing is related to another.
    Relation {
        /// The number of the one thing.
        first: u32,
        /// The number of the other thing.
        second: u32,
        /// The bits of `GstAnalyticsRelTypes`, below 256: 2 is part of, 4 contains, 8 relates to.
        types: u32,
    }
    /// An object, and where it is.
    Object {
        /// What it is; empty where that is not known.
        kind: Text,
        /// The first column.
        x: i32,
        /// The first row.
        y: i32,
        /// The width.
        width: i32,
        /// The height.
        height: i32,
        /// How far it is turned about its centre, in radians.
        rotation: f32,
        /// How certain it is, 0 to 1.
        confidence: f32,
    }
    /// The classes that something may be of.
    Classes {
        /// The classes.
        classes: Vec<Class>,
    }
    /// A class that something may be of.
    Class {
        /// The class; empty where it has no name.
        name: Text,
        /// How certain it is, 0 to 1.
        level: f32,
    }
    /// An object that is followed from picture to picture.
    Tracking {
        /// Its number.
        id: u64,
        /// When it was first seen, in nanoseconds.
        first_seen: u64,
        /// When it was last seen, in nanoseconds.
        last_seen: u64,
        /// Whether it is lost.
        is_lost: bool,
    }
    /// Which pixels belong to which region.
    Segmentation {
        /// The first column of the mask in the picture.
        x: i32,
        /// The first row of the mask in the picture.
        y: i32,
        /// The width of the mask in the picture.
        width: u32,
        /// The height of the mask in the picture.
        height: u32,
        /// The numbers of the regions.
        regions: Vec<u32>,
        /// The mask.
        mask: Mask,
    }
}

impl Analytics {
    /// Most things of a frame: GStreamer has a byte for each pair of them.
    pub const MAX_THINGS: usize = 1024;

    fn check(&self) -> std::result::Result<(), InvalidValue> {
        let is_thing = |number: u32| (number as usize) < self.things.len();
        check(
            self.relations.iter().all(|relation| {
                is_thing(relation.first) && is_thing(relation.second) && relation.types <= 0xff
            }),
            "a relation is one of two things, and of a known type",
        )
    }
}

impl Field for Thing {
    const LEAST: usize = 8;

    fn decode(decoder: &mut Decoder<'_>) -> Result<Thing> {
        decoder.record(|body, kind| Thing::decode(kind, body))
    }

    fn encode(&self, encoder: &mut Encoder<'_>) -> Option<()> {
        encoder.record(self.kind(), |body| Thing::encode(self, body))
    }
}
