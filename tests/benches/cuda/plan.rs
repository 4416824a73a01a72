//! The command line.

use std::fmt;

use crate::Result;

/// A size of frames.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    name: &'static str,
    format: &'static str,
    width: usize,
    height: usize,
    /// Bytes of two pixels.
    bytes_of_two: usize,
}

impl Size {
    const ALL: [Size; 4] = [
        Size::new("1080p", "NV12", [1920, 1080], 3),
        Size::new("4k", "NV12", [3840, 2160], 3),
        Size::new("8k", "NV12", [7680, 4320], 3),
        Size::new("1080p-rgba", "RGBA", [1920, 1080], 8),
    ];

    const fn new(
        name: &'static str,
        format: &'static str,
        [width, height]: [usize; 2],
        bytes_of_two: usize,
    ) -> Size {
        Size {
            name,
            format,
            width,
            height,
            bytes_of_two,
        }
    }

    /// Bytes of a frame.
    pub fn bytes(&self) -> usize {
        self.width * self.height * self.bytes_of_two / 2
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = self.bytes() as f64 / 1e6;
        let Size {
            width,
            height,
            format,
            ..
        } = self;
        write!(f, "{width}x{height} {format}, {megabytes:.1} MB")
    }
}

/// What is measured.
#[derive(Debug)]
pub struct Plan {
    pub sizes: Vec<Size>,
    pub clients: Vec<usize>,
    frames: Option<usize>,
}

impl Plan {
    /// Parses the options. `--bench`, which cargo adds, is ignored.
    pub fn parse(options: &[&str]) -> Result<Plan> {
        let mut plan = Plan {
            sizes: Size::ALL.to_vec(),
            clients: vec![1, 2, 4, 8],
            frames: None,
        };
        let mut words = options.iter().copied();
        while let Some(option) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{option} of what?"));
            match option {
                "--bench" => {}
                "--quick" => {
                    plan.frames = Some(100);
                    plan.clients = vec![1, 4];
                }
                "--frames" => plan.frames = Some(value()?.parse::<usize>()?.max(1)),
                "--clients" => {
                    let numbers = value()?.split(',').map(str::parse);
                    plan.clients = numbers.collect::<std::result::Result<_, _>>()?;
                }
                "--sizes" => plan.sizes = value()?.split(',').map(named).collect::<Result<_>>()?,
                other => {
                    return Err(format!(
                        "unknown option {other:?}; see the first lines of benches/cuda/main.rs"
                    )
                    .into());
                }
            }
        }
        Ok(plan)
    }

    /// Frames of a window. The stand-in writes a frame with the CPU, and its times are of no interest.
    pub fn frames(&self, is_stand_in: bool) -> usize {
        self.frames.unwrap_or(if is_stand_in { 200 } else { 2000 })
    }
}

fn named(name: &str) -> Result<Size> {
    let mut all = Size::ALL.into_iter();
    let found = all.find(|size| size.name == name);
    found.ok_or_else(|| {
        let known = Size::ALL.map(|size| size.name).join(", ");
        format!("unknown size {name:?}; known: {known}").into()
    })
}
