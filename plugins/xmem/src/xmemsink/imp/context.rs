//! The CUDA context of the element.

use gst::prelude::*;
use gst::subclass::prelude::*;

use super::XmemSink;
use crate::caps::Format;
use crate::xmemsink::stream::{Gpu, Stream};

impl XmemSink {
    /// Returns what frames of this format need if they are in CUDA memory, `None` for other memory. Finds a
    /// context: that of the frames before, of the application, of an element upstream, or a new one.
    ///
    /// # Errors
    /// A sentence for the user: what is missing.
    pub(super) fn gpu(&self, stream: &Stream, format: &Format) -> Result<Option<Gpu>, String> {
        let Some(info) = format
            .video
            .as_ref()
            .filter(|_| !format.memory.is_for_cpu())
        else {
            return Ok(None);
        };
        let chosen = self.settings().cuda_device();
        let before = stream.offer.context().filter(|_| chosen.is_none());
        let context = match before {
            Some(context) => Ok(context),
            None => self.cuda.ensure(self.obj().upcast_ref(), chosen),
        };
        let gpu = context.and_then(|context| Gpu::new(context, info, chosen.is_some()));
        gpu.map(Some).map_err(|error| {
            let feature = format.memory.feature();
            format!("xmemsink cannot publish {feature}: {error}. Put cudadownload before xmemsink to publish system memory")
        })
    }
}
