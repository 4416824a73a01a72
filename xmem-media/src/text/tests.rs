use super::*;
use crate::value::{FlagSet, FromValue, Text, Values};

fn caps(text: &str) -> Caps {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The value of the field `c` in `a/b, c=...`.
fn value(text: &str) -> Value {
    let caps = caps(&format!("a/b, c={text}"));
    caps.structure(0).unwrap().value("c").unwrap().clone()
}

fn get<T: for<'a> FromValue<'a>>(text: &str) -> Option<T> {
    value(text).get()
}

#[test]
fn caps_are_written_as_gstreamer_writes_them() {
    for text in [
        "ANY",
        "EMPTY",
        "video/x-raw",
        "video/x-raw, format=(string)NV12, width=(int)1920, framerate=(fraction)30000/1001",
        "video/x-raw(memory:DMABuf, meta:GstVideoMeta), format=(string)DMA_DRM",
        "video/x-raw(ANY), width=(int)[ 1, 2147483647 ]; audio/x-raw, rate=(int)[ 8, 80, 8 ]",
        "a/b, c=(string)\"\\ \\\"\\\\\\,\\;\\303\\244\", d=(string)\"\", e=(string)NULL",
        "a/b, c=(int)< 1, 2 >, d=(string){ x, \"y\\ z\" }, e=(int){  }, f=(int)< < 1 >, < 2 > >",
        "a/b, c=(boolean)true, d=(double)0.5, e=(bitmask)0x0000000000000003, f=(gint64)-5",
        "a/b, c=(structure)[x, d=(int)1], e=(GstCaps)[y(m:z), f=(int)2; z], g=(buffer)00ff",
        "a/b, c=(fraction)[ 0/1, 30/1 ], d=(double)[ 0.5, 1.5 ], e=(date)2024-02-29",
        "a/b, c=(datetime)2024-02-29T23:59:58.123456-0945, d=(datetime)2024-02-29T23:59Z",
        "a/b, c=(datetime)2024, d=(datetime)2024-02, e=(datetime)2024-02-29",
        "a/b, c=(int/uniquelist){ 1, 2 }, d=(GstCaps)< [x], [y(m:z), e=(int)1] >",
        "a/b, c=(GstFlagSet)5:7, d=(XFlagsSet)1:ffffffff, e=(guchar)200, f=(gchar)-8, g=(float)1.5",
    ] {
        assert_eq!(caps(text).to_string(), text);
    }
    let structure: Structure = "x, d=(int)1;".parse().unwrap();
    assert_eq!(structure.to_string(), "x, d=(int)1");
}

#[test]
fn what_people_write_is_understood() {
    assert_eq!(get::<i32>("5"), Some(5));
    assert_eq!(get::<i32>("0x10"), Some(16));
    assert_eq!(get::<f64>("5.5"), Some(5.5));
    assert_eq!(get::<Fraction>("30/1"), Some(Fraction::new(30, 1).unwrap()));
    assert_eq!(
        get::<Fraction>("(fraction)30"),
        Some(Fraction::new(30, 1).unwrap())
    );
    assert_eq!(get::<bool>("TRUE"), Some(true));
    assert_eq!(get::<bool>("(boolean)no"), Some(false));
    assert_eq!(value("NV12").get::<&str>(), Some("NV12"));
    assert_eq!(value("inf").get::<&str>(), Some("inf"));
    assert_eq!(value("\"30/1\"").get::<&str>(), Some("30/1"));
    assert_eq!(value("( string ) \"NULL\"").get::<&str>(), Some("NULL"));
    assert_eq!(value("(string)NULL"), Value::String(None));
    assert_eq!(get::<i32>("(int)\"5\""), Some(5));
    let set = FlagSet::new("GstFlagSet", 5, 7).unwrap();
    assert_eq!(value("5:7:a+b").get::<&FlagSet>(), Some(&set));
    let values = [1, 2].map(Value::from);
    for text in ["{1,2}", "< (int)1, (int)2 >", "(int) { 1 , 2 }"] {
        assert_eq!(value(text).get::<&[Value]>(), Some(&values[..]));
    }
    let inner = value("(structure)\"x\\,\\ d\\=\\(int\\)1\\;\"");
    assert_eq!(inner.get::<&Structure>().unwrap().get::<i32>("d"), Some(1));
    let inner = value("(GstCaps)\"x\\(m:y\\)\\,\\ d\\=1\"");
    assert_eq!(inner.get::<&Caps>().unwrap().structures().len(), 1);
    assert!(caps(" a/b , c = 5 ;").is_fixed());
    assert!(caps("NONE").structures().is_empty());
    assert!(caps("ANYTHING").structure(0).is_some());
    let unique = value("(/uniquelist){ (int)1, (int)2 }");
    assert_eq!(unique.to_string(), "{ 1, 2 }");
    assert!(matches!(unique, Value::UniqueList(_)));
    let memory = caps("a/b(memory:SystemMemory)");
    assert_eq!(memory, caps("a/b"));
}

#[test]
fn every_value_that_has_a_text_comes_back_from_it() {
    for letter in 1..=0x2ff {
        let Some(letter) = char::from_u32(letter) else {
            continue;
        };
        let text = Text::new(format!("a{letter}")).unwrap();
        let structure = Structure::new("a").unwrap().with("b", text).unwrap();
        assert_eq!(structure.to_string().parse(), Ok(structure));
    }
    let array = |value: Value| Value::Array(Values::new(vec![value]).unwrap());
    for number in [0.1, -1e300, 5e-324, f64::INFINITY] {
        let value = array(array(number.into()));
        let structure = Structure::new("a").unwrap();
        let structure = structure.with("b", value).unwrap();
        assert_eq!(structure.to_string().parse(), Ok(structure));
    }
}

#[test]
fn what_is_no_caps_is_refused_where_it_goes_wrong() {
    for (text, position) in [
        ("", 0),
        ("!", 0),
        ("a b", 2),
        ("a/b,", 4),
        ("a/b, c", 6),
        ("a/b, c=", 7),
        ("a/b, c=(int)x", 12),
        ("a/b, c=(int)2147483648", 12),
        ("a/b, c=(int", 11),
        ("a/b(m:x", 7),
        ("a/b(x)", 4),
        ("a/b, c=\"x", 7),
        ("a/b, c=\"\\9\\", 7),
        ("a/b, c=\"\\377\"", 7),
        ("a/b, c=\"\\000\"", 7),
        ("a/b, c=[1,2", 11),
        ("a/b, c=[2,1]", 7),
        ("a/b, c=[1,2,1,4]", 13),
        ("a/b, c=[1/2,1/3]", 7),
        ("a/b, c={1,x}", 7),
        ("a/b, c={1 2}", 10),
        ("a/b, c=(fraction)1/0", 17),
        ("a/b, c=(date)2023-02-29", 13),
        ("a/b, c=(buffer)0g", 15),
        ("a/b, c=(sample)x", 15),
        ("a/b, c=(structure)[x(m:y)]", 19),
        ("a/b, c=1, c=2", 0),
        ("a/b; ; c", 5),
    ] {
        let error = text.parse::<Caps>().expect_err(text);
        assert_eq!(error.position(), position, "{text}: {error}");
    }
}

#[test]
fn brackets_without_end_are_refused() {
    for open in ["{", "<", "[", "(structure)[a,b=", "(caps)\"a,b=", "(int)"] {
        let text = format!("a/b, c={}", open.repeat(100_000));
        assert!(text.parse::<Caps>().is_err(), "{open}");
    }
    let nested = |depth: usize| format!("a/b, c={}1{}", "<".repeat(depth), ">".repeat(depth));
    // Caps, structure, arrays and number are 16 within one another.
    assert!(nested(13).parse::<Caps>().is_ok());
    assert!(nested(14).parse::<Caps>().is_err());
}
