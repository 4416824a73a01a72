//! Peers with unexpected behaviour: the inputs that a fuzzer has found, and variations of them.

use xmem_tests::hostile;

#[path = "../../fuzz/corpus.rs"]
mod corpus;

#[test]
fn a_client_ends_with_a_frame_or_an_error_whatever_the_producer_says() {
    corpus::try_all("producer", 500, hostile::producer);
}

#[test]
fn a_producer_goes_on_whatever_its_clients_say() {
    corpus::try_all("client", 500, hostile::clients);
}
