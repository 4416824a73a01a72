//! Video with metas, between a process without GStreamer and a pipeline in another process.

use std::fs;

use xmem_core::{Frame, Publisher, Subscriber};
use xmem_media::meta::{Meta, MetaReader, MetaWriter, Region};
use xmem_media::{Caps, VideoInfo, VideoLayout};
use xmem_tests::pipeline::Pipeline;
use xmem_tests::{PATIENCE, Place};

const WIDTH: usize = 64;
const HEIGHT: usize = 48;
/// The bytes from row to row of both planes of NV12, more than the caps alone make them.
const STRIDE: usize = 96;
/// The rows between the planes that hold no pixels.
const GAP: usize = 5;

/// Y, U and V of the left half, and of the right half, in the standard range; and the same in RGB.
const RED: ([u8; 3], [u8; 3]) = ([81, 90, 240], [255, 0, 0]);
const GREY: ([u8; 3], [u8; 3]) = ([126, 128, 128], [128, 128, 128]);

fn caps(format: &str) -> Caps {
    let caps =
        format!("video/x-raw, format={format}, width={WIDTH}, height={HEIGHT}, framerate=30/1");
    caps.parse().unwrap()
}

/// A picture of two halves, whose planes lie as the layout says. All other bytes are 255.
fn picture() -> (VideoLayout, Vec<u8>) {
    let video = VideoInfo::from_caps(&caps("NV12")).unwrap();
    let mut layout = VideoLayout::from(&video);
    let chroma = STRIDE * (HEIGHT + GAP);
    layout.offset[1] = chroma as u64;
    layout.stride[..2].fill(STRIDE as i32);
    let mut bytes = vec![255; chroma + STRIDE * HEIGHT / 2];
    layout.check(&video, bytes.len() as u64).unwrap();
    for column in 0..WIDTH {
        let half = if column < WIDTH / 2 { RED } else { GREY };
        for row in 0..HEIGHT {
            bytes[row * STRIDE + column] = half.0[0];
        }
        for row in 0..HEIGHT / 2 {
            bytes[chroma + row * STRIDE + column] = half.0[1 + column % 2];
        }
    }
    (layout, bytes)
}

fn region(number: u32) -> Region {
    Region {
        id: number as i32,
        x: 3 + number,
        y: 4,
        width: 5,
        height: 6,
        params: vec!["detection, confidence=(double)0.5".parse().unwrap()],
        ..Region::named("face").unwrap()
    }
}

/// Publishes a picture with a region for each of the numbers, and ends the stream.
fn publish(publisher: &Publisher, numbers: std::ops::Range<u32>) {
    let (layout, bytes) = picture();
    let format = caps("NV12").to_bytes().unwrap();
    publisher.set_format(format).unwrap();
    publisher.wait_for_clients(1, Some(PATIENCE)).unwrap();
    for number in numbers {
        let mut frame = publisher.acquire(bytes.len()).unwrap();
        frame.payload().unwrap().write(0, &bytes);
        let mut extra = Vec::new();
        let mut writer = MetaWriter::new(&mut extra);
        writer.write(&layout.into()).unwrap();
        writer.write(&region(number).into()).unwrap();
        frame.set_extra(&extra).unwrap();
        frame.publish().unwrap();
    }
    publisher.end_stream();
}

/// The color of the visible pixels of a picture in RGB, near what it says in the middle of each half.
fn assert_colors(pixels: &[u8], stride: usize) {
    for row in [0, HEIGHT / 2, HEIGHT - 1] {
        for (column, (_, expected)) in [(0, RED), (16, RED), (48, GREY), (WIDTH - 1, GREY)] {
            let pixel = &pixels[row * stride + column * 3..][..3];
            let is_near = |(one, other): (&u8, &u8)| one.abs_diff(*other) <= 3;
            let is_color = pixel.iter().zip(&expected).all(is_near);
            assert!(is_color, "{column},{row}: {pixel:?}, not {expected:?}");
        }
    }
}

/// The caps of a frame, where its planes lie, and its regions.
fn described(frame: &Frame) -> (Caps, VideoLayout, Vec<Region>) {
    let caps = Caps::from_bytes(frame.format().unwrap()).unwrap();
    let video = VideoInfo::from_caps(&caps).unwrap();
    let extra = frame.extra().unwrap();
    let (mut layout, mut regions) = (VideoLayout::from(&video), Vec::new());
    for meta in MetaReader::new(&extra) {
        match meta.unwrap() {
            Meta::Video(said) => layout = said,
            Meta::Region(region) => regions.push(region),
            _ => {}
        }
    }
    layout.check(&video, frame.meta().size()).unwrap();
    (caps, layout, regions)
}

#[test]
fn a_pipeline_shows_the_pictures_and_regions_of_a_program() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0")).open().unwrap();
    let pixels = place.path().join("pixels");
    let mut client = Pipeline::play(
        &place,
        &["inspect src.src", "inspect out.sink"],
        &format!(
            "xmemsrc name=src channel=cam0 ! videoconvert ! video/x-raw,format=RGB ! \
             filesink name=out sync=false async=false location={}",
            pixels.display()
        ),
    );
    publish(&publisher, 0..3);
    client.until_eos();
    for pad in ["src.src", "out.sink"] {
        let frames = client.buffers(pad);
        assert_eq!(frames.len(), 3);
        for (number, frame) in frames.iter().enumerate() {
            let metas = frame.text("metas");
            let rect = format!("({},_4,_5,_6)", 3 + number);
            assert!(metas.contains(&rect), "{pad}: {rect}: {metas}");
            assert!(metas.contains("face"), "{pad}: {metas}");
            // Converters of GStreamer 1.22 drop what else is known of a region.
            assert!(metas.contains("confidence") || pad == "out.sink", "{metas}");
        }
    }
    let pixels = fs::read(pixels).unwrap();
    let size = WIDTH * HEIGHT * 3;
    assert_eq!(pixels.len(), 3 * size);
    for frame in pixels.chunks(size) {
        assert_colors(frame, WIDTH * 3);
    }
}

#[test]
fn a_program_reads_the_planes_and_regions_of_a_pipeline() {
    let place = Place::new();
    let sink = "xmemsink name=sink channel=cam0 sync=false wait-for-connection=true";
    let picture = format!("video/x-raw,format=NV12,width={WIDTH},height={HEIGHT}");
    let _producer = Pipeline::play(
        &place,
        &["mark sink.sink"],
        &format!("videotestsrc pattern=red num-buffers=3 ! {picture} ! {sink}"),
    );
    let client = Subscriber::builder(place.channel("cam0")).connect_timeout(Some(PATIENCE));
    let mut client = client.connect().unwrap();
    for _ in 0..3 {
        let frame = client.receive(Some(PATIENCE)).unwrap();
        let (caps, layout, regions) = described(&frame);
        let video = caps.structure(0).unwrap();
        assert_eq!(video.get::<&str>("format"), Some("NV12"));
        let bytes = frame.payload().unwrap().to_vec();
        let [luma, chroma] = [0, 1].map(|plane| {
            let (start, stride) = (layout.offset[plane] as usize, layout.stride[plane] as usize);
            let rows = HEIGHT >> plane;
            let pixels = (0..rows).flat_map(|row| &bytes[start + row * stride..][..WIDTH]);
            pixels.copied().collect::<Vec<_>>()
        });
        let is_near = |value: u8, expected: u8| value.abs_diff(expected) <= 3;
        assert!(luma.iter().all(|&y| is_near(y, RED.0[0])), "{luma:?}");
        let uv = [RED.0[1], RED.0[2]];
        let is_red = |pair: &[u8]| is_near(pair[0], uv[0]) && is_near(pair[1], uv[1]);
        assert!(chroma.chunks(2).all(is_red), "{chroma:?}");
        // Those that `metas.rs` attaches.
        let rects = regions
            .iter()
            .map(|one| (one.x, one.y, one.width, one.height));
        let expected = (0..3).map(|number| (number, 2, 3, 4));
        assert!(rects.eq(expected), "{regions:?}");
        assert!(regions.iter().all(|region| &*region.kind == "face"));
    }
}

/// A program before a pipeline, and one behind it.
#[test]
fn regions_of_a_program_go_through_a_pipeline_to_another() {
    let place = Place::new();
    let publisher = Publisher::builder(place.channel("cam0")).open().unwrap();
    let _middle = Pipeline::play(
        &place,
        &[],
        "xmemsrc channel=cam0 ! videoconvert ! video/x-raw,format=RGB ! \
         xmemsink channel=cam1 sync=false async=false wait-for-connection=true",
    );
    let client = Subscriber::builder(place.channel("cam1")).connect_timeout(Some(PATIENCE));
    let mut client = client.connect().unwrap();
    publish(&publisher, 0..3);
    for number in 0..3 {
        let frame = client.receive(Some(PATIENCE)).unwrap();
        let (caps, layout, mut regions) = described(&frame);
        let video = caps.structure(0).unwrap();
        assert_eq!(video.get::<&str>("format"), Some("RGB"));
        // Converters of GStreamer 1.22 drop what else is known of a region.
        let mut expected = region(number);
        expected.params.clear();
        regions.iter_mut().for_each(|region| region.params.clear());
        assert_eq!(regions, [expected]);
        assert_colors(
            &frame.payload().unwrap().to_vec(),
            layout.stride[0] as usize,
        );
    }
}
