//! Properties of shmsrc, shmsink, unixfdsrc, unixfdsink, cudaipcsrc and cudaipcsink that xmem's
//! elements have no use for.
//!
//! A pipeline that was written for those sets them, and must go on with xmem's elements in their place.
//! So they are there, with the types and the defaults that they have there. A value other than the
//! default has no effect here, and the user is told so on the bus when the element starts: by an info
//! message where the pipeline is none the worse, by a warning where the user asked for something that
//! is not done.

mod note;
mod shared;
mod sink;
mod source;

pub(crate) use note::Note;
pub(crate) use sink::SinkHabits;
pub(crate) use source::SourceHabits;
