//! From caps to the record of a frame: shape, strides and type of elements. Pure.

use std::time::Duration;

use xmem_core::{BufferMeta, DType};
use xmem_media::{Caps, Structure, Value};

use crate::memory::kind::CapsMemory;
use crate::values::{Names, Rules, from_gst, to_gst};

mod excerpt;
mod tensors;
#[cfg(test)]
mod tests;
mod video;

use excerpt::excerpt;
use tensors::Tensors;
pub(crate) use video::{describe, usual};

/// What is known of a stream from its caps alone.
#[derive(Clone, Debug)]
pub(crate) struct Format {
    pub(crate) media_type: String,
    /// For raw video.
    pub(crate) video: Option<gst_video::VideoInfo>,
    tensors: Option<Tensors>,
    /// The memory of the frames.
    pub(crate) memory: CapsMemory,
    /// What clients that join need first, where the sink has found it in the stream.
    pub(crate) headers: Vec<gst::Buffer>,
}

/// The field in which a sink tells these. Clients take it out of the caps.
pub(crate) const HEADERS: &str = "xmem-streamheader";

impl Format {
    /// Reads fixed caps.
    ///
    /// # Errors
    /// A sentence for the user where frames of these caps can't be shared as they are.
    pub(crate) fn from_caps(caps: &gst::CapsRef) -> Result<Format, String> {
        let structure = caps.structure(0).ok_or_else(|| "empty caps".to_string())?;
        let memory = caps
            .features(0)
            .map_or(Ok(CapsMemory::System), CapsMemory::of)
            .map_err(|feature| unfit_memory(&feature))?;
        let media_type = structure.name().to_string();
        let video = (media_type == "video/x-raw")
            .then(|| gst_video::VideoInfo::from_caps(caps).ok())
            .flatten();
        if memory == CapsMemory::Cuda && video.is_none() {
            let (feature, name) = (memory.feature(), structure.name());
            return Err(format!("{feature} is for raw video, not for {name}"));
        }
        if let Some(info) = video.as_ref().filter(|info| !describe(info).is_sound()) {
            return Err(format!(
                "{} of {}x{} pixels is too wide for GStreamer's own numbers",
                info.format(),
                info.width(),
                info.height()
            ));
        }
        Ok(Format {
            media_type,
            video,
            tensors: Tensors::from_structure(structure)?,
            memory,
            headers: Vec::new(),
        })
    }

    /// Decodes the caps that a producer in another process says its frames have. What a sink sends has
    /// passed here, too ([`for_clients`]).
    ///
    /// # Errors
    /// A sentence for the user: what is wrong with them.
    pub(crate) fn from_bytes(bytes: &[u8], names: &Names) -> Result<(gst::Caps, Format), String> {
        let mut caps = decode(bytes, names)?;
        let mut format = Format::from_caps(&caps)?;
        let headers = caps
            .structure(0)
            .map(|structure| headers(structure, HEADERS));
        format.headers = headers.unwrap_or_default();
        if !format.headers.is_empty()
            && let Some(structure) = caps.make_mut().structure_mut(0)
        {
            structure.remove_field(HEADERS);
        }
        Ok((caps, format))
    }

    /// How long a frame of raw video lasts, where the caps tell a frame rate.
    pub(crate) fn frame_duration(&self) -> Option<Duration> {
        let fps = self.video.as_ref()?.fps();
        let (numer, denom) = (
            u64::try_from(fps.numer()).ok()?,
            u64::try_from(fps.denom()).ok()?,
        );
        let nseconds = denom.checked_mul(1_000_000_000)?.checked_div(numer)?;
        Some(Duration::from_nanos(nseconds))
    }

    /// The bytes of every frame, where the caps tell: there is no use for slots of another size.
    pub(crate) fn frame_size(&self) -> Option<usize> {
        let video = self.video.as_ref().map(gst_video::VideoInfo::size);
        video.or_else(|| self.tensors.as_ref()?.size())
    }

    /// Checks that a buffer can be what the caps say.
    ///
    /// # Errors
    /// A sentence for the user. What is smaller or larger than its caps would be taken for what it is
    /// not.
    pub(crate) fn check(&self, buffer: &gst::BufferRef) -> Result<(), String> {
        match &self.tensors {
            Some(tensors) => tensors.check(&memory_sizes(buffer)),
            None => Ok(()),
        }
    }

    /// The sizes of a buffer's memories, where they mean something and clients can't know them from
    /// the caps.
    pub(crate) fn memories_to_tell(&self, buffer: &gst::BufferRef) -> Option<Vec<usize>> {
        let tensors = self.tensors.as_ref()?;
        let is_told = tensors.size() == Some(buffer.size());
        (!is_told && buffer.n_memory() > 1).then(|| memory_sizes(buffer))
    }

    /// The sizes of the memories that a frame of `size` bytes has to have, where they are several:
    /// one for each tensor. `told` is what the producer says of them, which is another process.
    pub(crate) fn memories(
        &self,
        size: usize,
        told: impl FnOnce() -> Option<Vec<usize>>,
    ) -> Option<Vec<usize>> {
        let tensors = self.tensors.as_ref()?;
        let sizes = tensors.sizes(size).or_else(told)?;
        let sum = sizes
            .iter()
            .try_fold(0usize, |sum, &size| sum.checked_add(size));
        let fits = sum == Some(size) && (2..=tensors::most_memories()).contains(&sizes.len());
        fits.then_some(sizes)
    }

    /// The record of a frame of `size` bytes with this format.
    ///
    /// Packed video with 8 or 16 bits a component is `[height, width, components]` (`[height,
    /// width]` for grey) with its strides, as `offset` and `stride` of its one plane say. One
    /// tensor is what its caps say. All else is bytes: planar and other video is described by its
    /// caps and its `GstVideoMeta`, and of several tensors each is a memory of the buffer.
    pub(crate) fn record(&self, size: usize, plane: Option<(usize, i32)>) -> BufferMeta {
        let tensor = || self.tensors.as_ref()?.record(size);
        let mut meta = plane
            .and_then(|(offset, stride)| self.packed(size, offset, stride))
            .or_else(tensor)
            .unwrap_or_else(|| BufferMeta::bytes(size));
        meta.set_content_type(&self.media_type);
        meta
    }

    fn packed(&self, size: usize, offset: usize, stride: i32) -> Option<BufferMeta> {
        let info = self.video.as_ref()?;
        let components = packed_components(info.format())?;
        let dtype = match info.format_info().depth() {
            depths if depths.iter().all(|&depth| depth == 8) => DType::UInt8,
            depths if depths.iter().all(|&depth| depth == 16) => DType::UInt16,
            _ => return None,
        };
        // A shape counts from the frame's first byte.
        if offset != 0 || stride <= 0 {
            return None;
        }
        let element = dtype.size() as u64;
        let (height, width) = (u64::from(info.height()), u64::from(info.width()));
        let (shape, strides): (&[u64], &[u64]) = if components == 1 {
            (&[height, width], &[stride as u64, element])
        } else {
            (
                &[height, width, components],
                &[stride as u64, components * element, element],
            )
        };
        BufferMeta::strided(dtype, shape, strides, size as u64).ok()
    }
}

/// The headers in a field of caps, as buffers without times.
pub(crate) fn headers(structure: &gst::StructureRef, field: &str) -> Vec<gst::Buffer> {
    let Ok(array) = structure.get::<gst::ArrayRef>(field) else {
        return Vec::new();
    };
    let headers = array.iter().filter_map(|header| {
        let mut header = header.get::<gst::Buffer>().ok()?.copy();
        let content = header.get_mut()?;
        content.set_flags(gst::BufferFlags::HEADER);
        // A muxer leaves those of the start of the stream.
        content.set_pts(None);
        content.set_dts(None);
        content.set_duration(None);
        content.set_offset(u64::MAX);
        content.set_offset_end(u64::MAX);
        Some(header)
    });
    headers.collect()
}

/// The bytes of caps for clients to decode, and what they then know of the stream.
///
/// # Errors
/// A sentence for the user where no client could decode them, or share such frames.
pub(crate) fn for_clients(caps: &gst::CapsRef) -> Result<(Vec<u8>, Format), String> {
    Format::from_caps(caps)?;
    let bytes = encode(caps)?;
    let (_, format) = Format::from_bytes(&bytes, Names::own())?;
    Ok((bytes, format))
}

/// Says what to do where frames are in memory that can't cross.
fn unfit_memory(feature: &str) -> String {
    let advice = match feature {
        "memory:NVMM" => {
            "put \"nvvideoconvert ! video/x-raw(memory:CUDAMemory)\" before it, or convert to system \
             memory"
        }
        _ => "convert to system memory first (gldownload, vapostproc, nvvideoconvert, ...)",
    };
    format!("{feature} can't be passed to another process: {advice}")
}

/// The caps that a producer in another process says its frames have.
fn decode(bytes: &[u8], names: &Names) -> Result<gst::Caps, String> {
    let caps = Caps::from_bytes(bytes).map_err(|why| format!("caps that can't be read: {why}"))?;
    if !are_comparable(&caps) {
        return Err("caps with a gchar or a GStrv, which GStreamer can't compare".into());
    }
    let caps = to_gst::caps(caps, Rules::strict(names))
        .map_err(|why| format!("caps that can't be made here: {why}"))?;
    if caps.is_fixed() {
        Ok(caps)
    } else {
        Err(excerpt("caps that are not fixed", &caps.to_string()))
    }
}

/// Whether elements can compare the caps: to compare some types is critical to GStreamer.
fn are_comparable(caps: &Caps) -> bool {
    let mut structures = caps.structures().iter();
    structures.all(|(_, structure)| has_comparable_fields(structure))
}

fn has_comparable_fields(structure: &Structure) -> bool {
    structure.fields().all(|(_, value)| is_comparable(value))
}

fn is_comparable(value: &Value) -> bool {
    match value {
        Value::Char(_) | Value::Strings(_) => false,
        Value::Array(values) | Value::List(values) | Value::UniqueList(values) => {
            values.iter().all(is_comparable)
        }
        Value::Structure(structure) => has_comparable_fields(structure),
        Value::Caps(caps) => are_comparable(caps),
        Value::TagList(tags) => tags.tags().all(|(_, all)| all.iter().all(is_comparable)),
        Value::Sample(sample) => {
            sample.caps().is_none_or(are_comparable)
                && sample.info().is_none_or(has_comparable_fields)
        }
        _ => true,
    }
}

/// The bytes of caps, where clients make the same caps of them.
fn encode(caps: &gst::CapsRef) -> Result<Vec<u8>, String> {
    let refused = |what: &str| format!("clients could not read these caps: {what}");
    let value = from_gst::caps(caps).ok_or_else(|| refused("too many values, or too deep"))?;
    let sent = value.structure(0);
    for (field, content) in caps.structure(0).iter().flat_map(|all| all.iter()) {
        if sent.is_some_and(|sent| sent.value(field).is_none()) {
            let of = content.type_();
            return Err(refused(&format!(
                "the field {field} holds a {of} that cannot cross"
            )));
        }
    }
    let bytes = value.to_bytes().map_err(|why| refused(&why.to_string()))?;
    let read = decode(&bytes, Names::own()).map_err(|why| refused(&why))?;
    // Not all values can be compared, and equal ones may be written in two ways.
    if read.is_strictly_equal(caps) || read.to_string() == caps.to_string() {
        Ok(bytes)
    } else {
        let what = "a value within others cannot cross";
        Err(refused(&excerpt(what, &caps.to_string())))
    }
}

fn memory_sizes(buffer: &gst::BufferRef) -> Vec<usize> {
    let memories = buffer.iter_memories();
    memories.map(|memory| memory.size()).collect()
}

/// Components of a pixel, for formats whose pixels lie one after another, whole.
fn packed_components(format: gst_video::VideoFormat) -> Option<u64> {
    use gst_video::VideoFormat as F;
    Some(match format {
        F::Gray8 | F::Gray16Le => 1,
        F::Rgb | F::Bgr | F::V308 | F::Iyu2 => 3,
        F::Rgba | F::Bgra | F::Argb | F::Abgr | F::Rgbx | F::Bgrx | F::Xrgb | F::Xbgr => 4,
        F::Ayuv | F::Vuya | F::Argb64 | F::Ayuv64 => 4,
        F::Argb64Le | F::Rgba64Le | F::Bgra64Le | F::Abgr64Le => 4,
        _ => return None,
    })
}
