use super::wire::{EVENT, EventBody, Head};
use super::*;
use crate::error::{Refusal, Resource, Setting};
use crate::segment::{DeviceDescription, MemoryKind};
use crate::uuid::Uuid;
use proptest::prelude::*;
use zerocopy::IntoBytes;

fn bye(reason: ByeReason) -> Message {
    Message::Bye {
        position: 100,
        reason,
    }
}

fn too_few_slots(limit: Setting) -> ByeReason {
    ByeReason::Refused(Refusal::TooFewSlots {
        leases: 4,
        needed: 11,
        allowed: 10,
        limit,
        slot_size: 4096,
    })
}

fn device_segment(kind: MemoryKind, handle: Option<[u8; 64]>) -> Message {
    let uuid = Uuid(*b"sixteen bytes ok");
    Message::Segment {
        id: SegmentId(4),
        memory: MemoryDescription {
            kind,
            size: 2 << 20,
            device: Some(DeviceDescription { uuid, handle }),
        },
    }
}

fn messages() -> Vec<Message> {
    vec![
        Message::Hello(Hello {
            leases: 4,
            backlog: 256,
            delivery: Delivery::Latest,
            takes: Takes {
                unsealed: true,
                cuda: false,
            },
            name: "viewer".into(),
        }),
        Message::Welcome(Welcome {
            client: 7,
            leases: 4,
            slots: 64,
            clock: 12,
        }),
        Message::Ready,
        Message::Joined { position: 12 },
        Message::Segment {
            id: SegmentId(3),
            memory: MemoryDescription {
                kind: MemoryKind::Memfd,
                size: 1 << 40,
                device: None,
            },
        },
        device_segment(MemoryKind::CudaVirtual, None),
        device_segment(
            MemoryKind::CudaIpc,
            Some(std::array::from_fn(|at| at as u8)),
        ),
        Message::SegmentGone { id: SegmentId(3) },
        Message::Event {
            number: 1,
            position: 7,
            kind: EventKind::Format,
            length: 11,
            content: Some("video/x-raw".into()),
        },
        Message::Event {
            number: 2,
            position: 7,
            kind: EventKind::Sticky(9),
            length: 100_000,
            content: None,
        },
        Message::Event {
            number: 3,
            position: 99,
            kind: EventKind::EndOfStream,
            length: 0,
            content: Some(Vec::new()),
        },
        Message::Told { number: 3 },
        Message::Request {
            number: 1,
            quota: Quota {
                leases: 9,
                backlog: 40,
            },
        },
        Message::Granted {
            number: 1,
            grant: Grant {
                quota: Quota {
                    leases: 9,
                    backlog: 33,
                },
                most: 50,
            },
        },
        Message::Upstream {
            content: vec![1, 2, 3],
        },
        bye(ByeReason::Stopped),
        bye(ByeReason::Failed("the control thread has panicked".into())),
        bye(ByeReason::Refused(Refusal::Other {
            text: "no room".into(),
            retryable: true,
        })),
        bye(ByeReason::Refused(Refusal::violation("a request"))),
        bye(ByeReason::Refused(Refusal::TooManyClients {
            clients: 16,
            max: 16,
        })),
        bye(too_few_slots(Setting::MaxSlots)),
        bye(too_few_slots(Setting::MaxBytes)),
        bye(ByeReason::Refused(Refusal::UnsealedOnly)),
        bye(ByeReason::Refused(Refusal::CudaOnly {
            device: "NVIDIA H100".into(),
        })),
        bye(ByeReason::Refused(Refusal::Exhausted {
            what: "making 4 slots".into(),
            resource: Resource::Space,
        })),
        Message::Ask,
        Message::Answer {
            length: 11,
            format: Some("video/x-raw".into()),
        },
        Message::Answer {
            length: 0,
            format: Some(Vec::new()),
        },
        Message::Answer {
            length: 5000,
            format: None,
        },
    ]
}

#[test]
fn what_is_encoded_is_decoded() {
    for message in messages() {
        assert_eq!(Message::decode(&message.encode()).unwrap(), message);
    }
}

#[test]
fn a_message_cut_or_grown_is_refused() {
    for message in messages() {
        let bytes = message.encode();
        for end in 0..bytes.len() {
            assert!(Message::decode(&bytes[..end]).is_err());
        }
        assert!(Message::decode(&[&bytes[..], &[0]].concat()).is_err());
    }
}

#[test]
fn another_version_is_named() {
    for message in [&messages()[0], &Message::Ask] {
        let mut bytes = message.encode();
        bytes[16] = 9;
        let error = Message::decode(&bytes).unwrap_err().to_string();
        assert!(error.contains("version 9"), "{error}");
    }
}

/// What section 4.6 of `docs/protocol.md` says of the key and the kind.
#[test]
fn only_a_sticky_event_has_a_key_and_the_error_names_what_is_wrong() {
    let event = |kind: u32, key: u64| {
        let body = EventBody {
            number: 1,
            position: 0,
            key,
            kind,
            length: 0,
        };
        let head = Head {
            kind: EVENT,
            zero: 0,
            length: size_of::<EventBody>() as u32,
        };
        Message::decode(&[head.as_bytes(), body.as_bytes()].concat())
    };
    for kind in 0..=5 {
        assert!(event(kind, 0).is_ok(), "{kind}");
        for key in [1, 1 << 63, u64::MAX] {
            match event(kind, key) {
                Ok(Message::Event { kind: sticky, .. }) => {
                    assert_eq!((kind, sticky), (1, EventKind::Sticky(key)));
                }
                other => {
                    let error = other.unwrap_err().to_string();
                    assert_ne!(kind, 1, "{error}");
                    let names_it =
                        error.contains(&format!("key {key:#x} of an event of kind {kind}"));
                    assert!(names_it, "{error}");
                }
            }
        }
    }
    let error = event(6, 7).unwrap_err().to_string();
    assert!(error.contains("unknown kind of event 6"), "{error}");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Message::decode(&bytes);
    }

    #[test]
    fn a_changed_byte_makes_it_err_or_another_message(which in 0..messages().len(), at in 0usize..100, to: u8) {
        let mut bytes = messages()[which].encode();
        let at = at % bytes.len();
        bytes[at] = to;
        if let Ok(message) = Message::decode(&bytes) {
            prop_assert_eq!(message.encode().len(), bytes.len());
        }
    }
}
