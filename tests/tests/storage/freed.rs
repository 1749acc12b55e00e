//! Proves that a read whose segment is freed, and used again for other batches, while it is under way gets the batch that it
//! asked for. The check that sees to it is taken out by a plant (`planted.rs`), and then this is found.

use keylane_tests::freed::read_while_freed;

#[test]
fn a_read_is_not_served_from_a_segment_that_was_freed_meanwhile() {
    assert_eq!(read_while_freed(), Vec::<String>::new());
}
