//! What a raw video format is.

/// Components `Y`, `U` and `V`.
pub const YUV: u32 = 1;
/// Components red, green and blue.
pub const RGB: u32 = 1 << 1;
/// One component.
pub const GRAY: u32 = 1 << 2;
/// The last component is transparency.
pub const ALPHA: u32 = 1 << 3;
/// Values of more than 8 bits are little-endian.
pub const LE: u32 = 1 << 4;
/// The last plane holds colours, and the first one numbers of them.
pub const PALETTE: u32 = 1 << 5;
/// Pixels are packed in a way that pixel strides do not describe.
pub const COMPLEX: u32 = 1 << 6;
/// Planes consist of tiles.
pub const TILED: u32 = 1 << 8;
/// Values of more than 8 bits are those of the machine.
pub(super) const NATIVE: u32 = if cfg!(target_endian = "little") {
    LE
} else {
    0
};

/// How wide and how high a value of each component is, as powers of 2 of pixels.
type Subsampling = [(u8, u8); 4];
pub(super) const S444: Subsampling = [(0, 0); 4];
pub(super) const S422: Subsampling = [(0, 0), (1, 0), (1, 0), (0, 0)];
pub(super) const S420: Subsampling = [(0, 0), (1, 1), (1, 1), (0, 0)];
pub(super) const S411: Subsampling = [(0, 0), (2, 0), (2, 0), (0, 0)];
pub(super) const S410: Subsampling = [(0, 0), (2, 2), (2, 2), (0, 0)];

/// A raw video format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VideoFormat {
    /// The number of its `GstVideoFormat`.
    pub number: u32,
    /// Its name in caps.
    pub name: &'static str,
    /// The bits of [`YUV`], [`RGB`], [`GRAY`], [`ALPHA`], [`LE`], [`PALETTE`], [`COMPLEX`] and
    /// [`TILED`].
    pub flags: u32,
    components: [Component; 4],
    count: u8,
    pub(super) packing: Packing,
    pub(super) rows: Rows,
}

/// A component of a format: the values of one colour, or of transparency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Component {
    /// The bits of a value.
    pub depth: u8,
    /// The bits below the value.
    pub shift: u8,
    /// The bytes from one value to the next in a row; 0 where pixels are packed in another way.
    pub pixel_stride: u8,
    /// The plane that it is in.
    pub plane: u8,
    /// The byte of the plane at which it begins.
    pub offset: u8,
    /// The power of 2 of the pixels that a value covers in a row.
    pub width_shift: u8,
    /// The power of 2 of the rows that a value covers.
    pub height_shift: u8,
}

/// How pixels lie in a plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// As the pixel strides say.
    Pixels,
    /// So many pixels in so many bytes; rows are multiples of `align`.
    Groups { pixels: u8, bytes: u8, align: u8 },
    /// Tiles of so many bytes in so many rows.
    Tiles { bytes: u8, rows: u8 },
}

/// What GStreamer makes of odd numbers of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rows {
    /// Planes that are not subsampled have an even number of them.
    pub(super) is_even: bool,
    /// Subsampled planes have an even number of them where the picture is interlaced.
    pub(super) is_paired: bool,
}

/// A format of the table, whose columns these are.
#[allow(clippy::too_many_arguments)]
pub(super) const fn row(
    number: u32,
    name: &'static str,
    flags: u32,
    depths: &[u8],
    pixel_strides: &[u8],
    planes: &[u8],
    offsets: &[u8],
    subsampling: Subsampling,
) -> VideoFormat {
    let mut format = VideoFormat::new(number, name, flags);
    while (format.count as usize) < depths.len() {
        let at = format.count as usize;
        let (width_shift, height_shift) = subsampling[at];
        format = format.with(Component {
            depth: depths[at],
            shift: 0,
            pixel_stride: pixel_strides[at],
            plane: planes[at],
            offset: offsets[at],
            width_shift,
            height_shift,
        });
    }
    format
}

impl VideoFormat {
    /// A format without components.
    pub const fn new(number: u32, name: &'static str, flags: u32) -> VideoFormat {
        let none = Component {
            depth: 0,
            shift: 0,
            pixel_stride: 0,
            plane: 0,
            offset: 0,
            width_shift: 0,
            height_shift: 0,
        };
        VideoFormat {
            number,
            name,
            flags,
            components: [none; 4],
            count: 0,
            packing: Packing::Pixels,
            rows: Rows {
                is_even: false,
                is_paired: true,
            },
        }
    }

    /// With a component more.
    ///
    /// # Panics
    /// Where it has four.
    pub const fn with(mut self, component: Component) -> VideoFormat {
        self.rows.is_even |= component.height_shift == 1;
        self.components[self.count as usize] = component;
        self.count += 1;
        self
    }

    pub(super) const fn shifted(mut self, shifts: &[u8]) -> VideoFormat {
        let mut at = 0;
        while at < shifts.len() {
            self.components[at].shift = shifts[at];
            at += 1;
        }
        self
    }

    pub(super) const fn groups(mut self, pixels: u8, bytes: u8, align: u8) -> VideoFormat {
        self.packing = Packing::Groups {
            pixels,
            bytes,
            align,
        };
        self
    }

    pub(super) const fn tiles(mut self, bytes: u8, rows: u8) -> VideoFormat {
        self.packing = Packing::Tiles { bytes, rows };
        self
    }

    pub(super) const fn even(mut self) -> VideoFormat {
        self.rows.is_even = true;
        self
    }

    pub(super) const fn unpaired(mut self) -> VideoFormat {
        self.rows.is_paired = false;
        self
    }

    /// The components.
    pub fn components(&self) -> &[Component] {
        &self.components[..self.count.into()]
    }

    /// The number of planes.
    pub fn planes(&self) -> usize {
        let planes = self.components().iter().map(|component| component.plane);
        planes.max().map_or(0, |last| usize::from(last) + 1)
    }

    /// The components of a plane.
    pub fn components_of(&self, plane: usize) -> impl Iterator<Item = &Component> {
        let components = self.components().iter();
        components.filter(move |component| usize::from(component.plane) == plane)
    }

    /// Whether it has one of these flags.
    pub fn has(&self, flags: u32) -> bool {
        self.flags & flags != 0
    }
}
