//! The adapter that tests run on.

use shadegrad::gpu::{Adapter, Adapters, Choice, install_hint};

/// The best adapter there is; without one the test fails and says how to get one.
pub fn adapter() -> Adapter {
    match Adapters::list().choose(&Choice::Auto) {
        Ok(Some(adapter)) => adapter,
        _ => panic!("this test needs an adapter, software is enough: run scripts/test, or {}", install_hint()),
    }
}
