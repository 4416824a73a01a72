//! Tensors: clients get what the caps of NNStreamer's streams say about them, with GStreamer and
//! without.

use gst::meta::CustomMeta;
use xmem_core::{BufferMeta, Channel, DType, Publisher, Subscriber};
use xmem_tests::local::{self, Local, assert_same, sizes};
use xmem_tests::pipeline::fill;
use xmem_tests::{PATIENCE, Place};

/// A buffer with memories of these sizes.
fn buffer(seed: u64, sizes: &[usize]) -> gst::Buffer {
    let memories = sizes.iter().enumerate().map(|(number, &size)| {
        let mut bytes = vec![0; size];
        fill(seed + 100 * number as u64, &mut bytes);
        gst::Memory::from_slice(bytes)
    });
    memories.collect()
}

/// Type, shape and strides in the record of a buffer.
fn record(buffer: &gst::BufferRef) -> (String, Vec<u64>, Vec<u64>) {
    let meta = CustomMeta::from_buffer(buffer, "XmemBufferMeta").expect("a record");
    let numbers = |field| {
        let array = meta.structure().get::<gst::Array>(field).expect(field);
        let numbers = array.iter().map(|number| number.get::<u64>().expect(field));
        numbers.collect()
    };
    let dtype = meta.structure().get("dtype").expect("a type");
    (dtype, numbers("shape"), numbers("strides"))
}

fn caps(text: &str) -> gst::Caps {
    local::init();
    text.parse().expect("caps")
}

/// Caps of static tensors.
fn tensors(count: usize, dimensions: &str, types: &str) -> gst::Caps {
    caps(&format!(
        "other/tensors,format=static,num_tensors={count},dimensions=(string)\"{dimensions}\",\
         types=(string)\"{types}\",framerate=30/1"
    ))
}

fn pair(place: &Place) -> (Local, Local) {
    (local::pushing(place), local::pulling(place))
}

#[test]
fn one_tensor_has_its_type_and_shape_in_the_record() {
    let place = Place::new();
    let (producer, client) = pair(&place);
    let one = "other/tensor,dimension=(string)4:3:2,type=(string)int16,framerate=30/1";
    for (caps, size, expected) in [
        (
            tensors(1, "3:224:224:1", "uint8"),
            150_528,
            ("uint8", vec![224, 224, 3], vec![672, 3, 1]),
        ),
        (
            tensors(1, "3:224:224:4", "float32"),
            2_408_448,
            ("float32", vec![4, 224, 224, 3], vec![602_112, 2688, 12, 4]),
        ),
        (
            tensors(1, "1000:1", "float16"),
            2000,
            ("float16", vec![1000], vec![2]),
        ),
        (tensors(1, "1", "float64"), 8, ("float64", vec![1], vec![8])),
        (tensors(1, "5", "uint64"), 40, ("uint64", vec![5], vec![8])),
        (caps(one), 48, ("int16", vec![2, 3, 4], vec![24, 8, 2])),
    ] {
        producer.set_caps(&caps);
        for seed in 0..3 {
            let sent = buffer(seed, &[size]);
            producer.push(&sent);
            let sample = client.pull().expect("the stream continues");
            assert_eq!(sample.caps_owned(), Some(caps.clone()));
            let received = sample.buffer().expect("a sample has a buffer");
            assert_same(&sent, received);
            let (dtype, shape, strides) = expected.clone();
            assert_eq!(record(received), (dtype.to_owned(), shape, strides));
            assert_eq!(received.n_memory(), 1);
        }
    }
}

#[test]
fn each_of_several_tensors_is_a_memory() {
    let place = Place::new();
    let (producer, client) = pair(&place);
    producer.set_caps(&tensors(3, "3:64:64:1.1000:1.7", "uint8.float32.int64"));
    let parts = [12_288, 4000, 56];
    let total = parts.iter().sum();
    // As NNStreamer sends them, and in one memory or cut anywhere, as others may send them.
    for memories in [&parts[..], &[total], &[total - 1, 1], &[1, 2, 3, total - 6]] {
        let sent = buffer(7, memories);
        producer.push(&sent);
        let received = client.pull_buffer();
        assert_same(&sent, &received);
        assert_eq!(sizes(&received), parts);
        assert_eq!(
            record(&received),
            ("uint8".into(), vec![total as u64], vec![1])
        );
        // Mapping the whole buffer needs no copy.
        let first = received
            .peek_memory(0)
            .map_readable()
            .expect("the buffer can be read");
        let whole = received.map_readable().expect("the buffer can be read");
        assert_eq!(whole.len(), total);
        assert_eq!(whole.as_ptr(), first.as_ptr());
        for memory in received.iter_memories_owned() {
            assert!(memory.into_mapped_memory_writable().is_err());
        }
    }
}

#[test]
fn the_memories_of_a_frame_are_one_lease_together() {
    let place = Place::new();
    let producer = local::pushing(&place);
    let source = local::source(&place, "max-leases=2");
    let client = Local::play(&format!(
        "{source} ! appsink name=out sync=false async=false enable-last-sample=false"
    ));
    producer.set_caps(&tensors(2, "100,200", "uint8,uint8"));
    for seed in 0..50 {
        producer.push(&buffer(seed, &[100, 200]));
    }
    let mut held = None;
    for seed in 0..50 {
        let received = client.pull_buffer();
        assert_same(&buffer(seed, &[100, 200]), &received);
        // One of its memories is kept after the buffer is freed.
        held = received.iter_memories_owned().last();
        assert_eq!(held.as_ref().map(|memory| memory.size()), Some(200));
    }
    drop(held);
    let stats = producer.stats("sink");
    assert_eq!(stats.get::<u64>("dropped"), Ok(0), "{stats}");
}

#[test]
fn memories_whose_sizes_the_caps_do_not_determine_stay_separate() {
    let place = Place::new();
    let (producer, client) = pair(&place);
    let many = vec!["10"; 20].join(",");
    let mut sixteen = [10; 16];
    sixteen[15] = 19_224 + 50;
    for caps in [
        caps("other/tensors,format=flexible,framerate=30/1"),
        caps("other/tensors,format=sparse,framerate=0/1"),
        // If there are more tensors than memories, the last memory has the rest, with a header.
        tensors(20, &many, &["uint8"; 20].join(",")),
    ] {
        producer.set_caps(&caps);
        for memories in [&[200][..], &[128 + 300, 128 + 7], &[100, 0, 100], &sixteen] {
            let sent = buffer(1, memories);
            producer.push(&sent);
            let received = client.pull_buffer();
            assert_same(&sent, &received);
            assert_eq!(sizes(&received), memories, "{caps}");
        }
        let sent = gst::Buffer::new();
        producer.push(&sent);
        assert_same(&sent, &client.pull_buffer());
    }
}

#[test]
fn caps_with_groups_of_tensors_cross_as_they_are() {
    let place = Place::new();
    let (producer, client) = pair(&place);
    let mut tensors = vec![
        "< (GstCaps)[tensor/strided, dims-order=(string)row-major, tensor-id=(string)boxes, \
         dims=(int)< 1, 100, 4 >, type=(string)float32], (GstCaps)[tensor/strided, \
         tensor-id=(string)scores, dims=(int)< 1, 100 >, type=(string)float32] >"
            .to_owned(),
    ];
    if gst::version() >= (1, 28, 0, 0) {
        let unique = tensors[0].replace("< (GstCaps)", "(/uniquelist){ (GstCaps)");
        tensors.push(unique.replace("float32] >", "float32] }"));
    }
    for tensors in tensors {
        let caps = caps(&format!(
            "video/x-raw,format=RGB,width=64,height=48,framerate=30/1,\
             tensors=(structure)[tensorgroups, ssd-mobilenet-v1-variant-1-out={tensors};]"
        ));
        producer.set_caps(&caps);
        let sent = buffer(1, &[64 * 48 * 3]);
        producer.push(&sent);
        let sample = client.pull().expect("the stream continues");
        let received = sample.caps().expect("caps");
        assert!(received.is_strictly_equal(&caps), "{received}");
        let buffer = sample.buffer().expect("a sample has a buffer");
        assert_same(&sent, buffer);
        assert_eq!(record(buffer).1, [48, 64, 3]);
        assert!(buffer.meta::<gst_video::VideoMeta>().is_some());
    }
}

#[test]
fn a_buffer_that_does_not_fit_its_caps_is_an_error_that_names_both() {
    for (caps, memories, parts) in [
        (
            tensors(1, "3:224:224:1", "float32"),
            &[600_000][..],
            &["600000", "602112", "float32", "3:224:224", "dimensions"][..],
        ),
        (
            tensors(2, "100,200", "uint8,uint8"),
            &[200, 100],
            &["memory 0", "200", "100", "order"],
        ),
        (
            caps("other/tensor,dimension=(string)3:4,type=(string)uint8"),
            &[13],
            &["13", "12", "3:4"],
        ),
    ] {
        let place = Place::new();
        let (producer, _client) = pair(&place);
        producer.set_caps(&caps);
        producer.push(&buffer(1, memories));
        let error = producer.error();
        for part in parts {
            assert!(error.contains(part), "{part:?} in {error:?}");
        }
    }
}

#[test]
fn caps_that_contradict_themselves_are_refused_with_a_sentence() {
    for (caps, part) in [
        (tensors(1, "3:x:4", "uint8"), "3:x:4"),
        (tensors(1, "3:4", "complex64"), "complex64"),
        (
            tensors(3, "3:4,5", "uint8,uint8"),
            "2 dimensions, 2 types and 3",
        ),
    ] {
        let place = Place::new();
        let (producer, _client) = pair(&place);
        producer.set_caps(&caps);
        producer.push(&buffer(1, &[12]));
        let error = producer.error();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_client_without_gstreamer_gets_a_tensor_from_a_pipeline() {
    let place = Place::new();
    let producer = local::pushing(&place);
    let mut client = Subscriber::builder(place.channel("cam0"))
        .connect_timeout(Some(PATIENCE))
        .connect()
        .expect("a producer");
    producer.set_caps(&tensors(1, "4:3:2:1", "float32"));
    let values: Vec<f32> = (0..24).map(|number| number as f32 / 3.0).collect();
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    producer.push(&gst::Buffer::from_slice(bytes));
    let frame = client.receive(Some(PATIENCE)).expect("a frame");
    assert_eq!(frame.meta().content_type(), "other/tensors");
    let view = frame.view::<f32>().expect("the frame is of float32");
    assert_eq!(view.shape(), [2, 3, 4]);
    let plane = view.at(1).and_then(|plane| plane.at(2)).expect("inside");
    assert_eq!(plane.iter().collect::<Vec<_>>(), values[20..24]);
}

/// A producer without GStreamer, of frames in this format.
fn publisher(channel: Channel, format: &str) -> Publisher {
    let publisher = Publisher::builder(channel).slot_size(1000).open();
    let publisher = publisher.expect("a free channel");
    publisher
        .set_format(xmem_tests::format(format))
        .expect("a format");
    publisher
}

/// Publishes a frame with this record and these extra bytes.
fn publish(publisher: &Publisher, meta: BufferMeta, extra: &[u8]) {
    let mut frame = publisher.acquire(meta.size() as usize).expect("a slot");
    let mut bytes = vec![0; meta.size() as usize];
    fill(3, &mut bytes);
    frame.payload().unwrap().write(0, &bytes);
    *frame.meta_mut() = meta;
    frame.set_extra(extra).expect("little");
    frame.publish().expect("the channel is open");
}

#[test]
fn a_pipeline_gets_a_tensor_from_a_producer_without_gstreamer() {
    let place = Place::new();
    let format = "other/tensors,format=static,num_tensors=1,dimensions=(string)5:4:3:2,\
                  types=(string)int32,framerate=(fraction)0/1";
    let publisher = publisher(place.channel("cam0"), format);
    let client = local::pulling(&place);
    let meta = BufferMeta::tensor(DType::Int32, &[2, 3, 4, 5]).expect("a tensor");
    publish(&publisher, meta, &[]);
    let sample = client.pull().expect("the stream continues");
    assert_eq!(sample.caps_owned(), Some(caps(format)));
    let received = sample.buffer().expect("a sample has a buffer");
    let strides = vec![240, 80, 20, 4];
    assert_eq!(
        record(received),
        ("int32".into(), vec![2, 3, 4, 5], strides)
    );
    let mut bytes = vec![0; 480];
    fill(3, &mut bytes);
    assert_eq!(local::bytes(received), bytes);
}

#[test]
fn a_false_list_of_memories_yields_a_single_memory() {
    let place = Place::new();
    let two = "other/tensors,format=static,num_tensors=2,dimensions=(string)\"100,200\",\
               types=(string)\"uint8,uint8\"";
    let flexible = "other/tensors,format=flexible";
    let publisher = publisher(place.channel("cam0"), two);
    let client = local::pulling(&place);
    let told = |sizes: &[u64]| {
        let mut extra = 100u32.to_le_bytes().to_vec();
        extra.extend((8 * sizes.len() as u32).to_le_bytes());
        extra.extend(sizes.iter().flat_map(|size| size.to_le_bytes()));
        extra
    };
    let cut_short = told(&[100, 200])[..15].to_vec();
    let mut odd = told(&[300]);
    odd[4] = 7;
    odd.pop();
    for (format, size, extra, expected) in [
        (two, 300, vec![], &[100, 200][..]),
        (two, 299, vec![], &[299]),
        (two, 301, told(&[100, 201]), &[100, 201]),
        (two, 600, told(&[100, 200]), &[600]),
        (flexible, 300, told(&[100, 200]), &[100, 200]),
        (flexible, 300, told(&[0, 300]), &[0, 300]),
        (flexible, 300, told(&[100, 201]), &[300]),
        (flexible, 300, told(&[u64::MAX, 301]), &[300]),
        (flexible, 300, told(&[300]), &[300]),
        (flexible, 300, told(&[]), &[300]),
        (flexible, 300, told(&[0; 50_000]), &[300]),
        (flexible, 300, odd, &[300]),
        ("application/x-test", 300, told(&[100, 200]), &[300]),
    ] {
        publisher
            .set_format(xmem_tests::format(format))
            .expect("a format");
        publish(&publisher, BufferMeta::bytes(size), &extra);
        assert_eq!(sizes(&client.pull_buffer()), expected, "{size} of {format}");
    }
    // Extra bytes that cannot be parsed as metas violate the protocol.
    publish(&publisher, BufferMeta::bytes(300), &cut_short);
    assert!(client.error().contains("metas"));
}

#[test]
fn impossible_dimensions_of_another_process_are_an_error() {
    let place = Place::new();
    let format = "other/tensors,format=static,num_tensors=1,dimensions=(string)3:-4,types=uint8";
    let publisher = publisher(place.channel("cam0"), format);
    let client = local::pulling(&place);
    publish(&publisher, BufferMeta::bytes(12), &[]);
    let error = client.error();
    assert!(error.contains("3:-4"), "{error}");
}
