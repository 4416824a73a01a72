use super::*;

#[test]
fn numbers_and_names_stand_once() {
    for (at, format) in VideoFormat::all().iter().enumerate() {
        assert_eq!(format.number as usize, at + 2, "{}", format.name);
        assert_eq!(VideoFormat::named(format.name), Some(format));
        assert_eq!(VideoFormat::numbered(format.number), Some(format));
    }
}

#[test]
fn planes_lie_where_the_caps_say() {
    for (caps, offset, stride, size) in [
        ("NV12, width=5, height=3", &[0, 32][..], &[8, 8][..], 48),
        ("I420, width=5, height=3", &[0, 32, 40], &[8, 4, 4], 48),
        ("RGB, width=5, height=3", &[0], &[16], 48),
        ("v210, width=5, height=3", &[0], &[128], 384),
        ("RGB8P, width=5, height=3", &[0, 24], &[8, 4], 1048),
    ] {
        let caps = format!("video/x-raw, format={caps}");
        let info = VideoInfo::from_caps(&caps.parse().unwrap()).unwrap();
        let planes = info.format.planes();
        assert_eq!(&info.offset[..planes], offset, "{caps}");
        assert_eq!(&info.stride[..planes], stride, "{caps}");
        assert_eq!(info.size, size, "{caps}");
        let mut layout = VideoLayout::from(&info);
        assert_eq!(layout.check(&info, size), Ok(()));
        assert!(layout.check(&info, size - 1).is_err());
        layout.width -= 1;
        assert!(layout.check(&info, size).is_err());
    }
    for caps in [
        "video/x-raw, format=RGB, width=5",
        "video/x-raw, format=RGB, width=5, height=-3",
        "video/x-raw, format=RGB, width=65536, height=65536",
        "video/x-raw, format=None, width=5, height=3",
        "image/x-raw, format=RGB, width=5, height=3",
        "video/x-raw, format=RGB, width=[1, 5], height=3",
    ] {
        assert_eq!(VideoInfo::from_caps(&caps.parse().unwrap()), None, "{caps}");
    }
}
