//! Which activations and gradients take turns in the same memory, because no step needs them together.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::ops::RangeInclusive;

use super::plan::{Plan, PlanStep, Role, Storage};
use crate::gpu::OFFSET_ALIGNMENT;
use crate::ops::Access;

/// Where a storage lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Place in `Sharing::buffers`.
    pub buffer: usize,
    /// Elements from the start of the buffer; where a binding may begin.
    pub offset: usize,
}

/// A buffer for every storage of a plan, some for several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// By storage.
    pub places: Vec<Place>,
    /// Elements of 4 bytes.
    pub buffers: Vec<usize>,
}

/// A storage that only lives for a part of the step.
struct Tenant {
    storage: usize,
    length: usize,
    /// Steps of the plan, from the first that writes it to the last that has to do with it.
    life: RangeInclusive<usize>,
}

impl Sharing {
    /// A buffer of its own for every storage.
    pub fn none(plan: &Plan) -> Self {
        Self {
            places: (0..plan.storages.len()).map(|buffer| Place { buffer, offset: 0 }).collect(),
            buffers: plan.storages.iter().map(|storage| storage.length).collect(),
        }
    }

    /// Each storage goes where it makes the buffers grow least, once with the largest first and once in the order of their lives; the
    /// better of the two. No buffer grows beyond `max_bytes`.
    ///
    /// Two storages of which one is written while the other is used by the same op never lie in the same buffer, not even apart: a buffer
    /// cannot be bound for reading and for writing at once.
    pub fn of(plan: &Plan, max_bytes: u64) -> Self {
        let mut tenants = tenants(plan);
        let apart = apart(plan);
        let in_turn = Self::assign(plan, &tenants, &apart, max_bytes);
        tenants.sort_by_key(|tenant| Reverse(tenant.length));
        let by_size = Self::assign(plan, &tenants, &apart, max_bytes);
        if by_size.bytes() < in_turn.bytes() { by_size } else { in_turn }
    }

    fn assign(plan: &Plan, tenants: &[Tenant], apart: &HashSet<(usize, usize)>, max_bytes: u64) -> Self {
        let alone = (0..plan.storages.len()).filter(|&storage| tenants.iter().all(|tenant| tenant.storage != storage));
        let (mut places, mut buffers) = (vec![Place { buffer: 0, offset: 0 }; plan.storages.len()], Vec::new());
        for storage in alone {
            places[storage].buffer = buffers.len();
            buffers.push(plan.storages[storage].length);
        }

        let first = buffers.len();
        let mut housed: Vec<Vec<&Tenant>> = Vec::new();
        for tenant in tenants {
            let storage = tenant.storage;
            let parted = |other: &&Tenant| apart.contains(&(storage.min(other.storage), storage.max(other.storage)));
            let shared = housed.iter().enumerate().filter(|(_, others)| !others.iter().any(parted));
            let shared = shared.filter_map(|(house, others)| {
                let offset = lowest_gap(tenant, others, &places);
                let growth = (offset + tenant.length).saturating_sub(buffers[first + house]);
                let fits = 4 * (buffers[first + house] + growth) as u64 <= max_bytes;
                (fits && growth < tenant.length).then_some((growth, house, offset))
            });
            let (house, offset) = match shared.min() {
                Some((growth, house, offset)) => {
                    buffers[first + house] += growth;
                    (house, offset)
                }
                None => {
                    buffers.push(tenant.length);
                    housed.push(Vec::new());
                    (housed.len() - 1, 0)
                }
            };
            places[storage] = Place { buffer: first + house, offset };
            housed[house].push(tenant);
        }
        Self { places, buffers }
    }

    /// Bytes of all buffers.
    pub fn bytes(&self) -> u64 {
        self.buffers.iter().map(|&length| 4 * length as u64).sum()
    }

    /// Whether a storage's buffer holds others as well.
    pub fn is_shared(&self, storage: usize) -> bool {
        self.places.iter().filter(|place| place.buffer == self.places[storage].buffer).count() > 1
    }
}

/// The storages that hold nothing before a step writes them whole, and nothing that anybody wants after it; in the order of their lives.
fn tenants(plan: &Plan) -> Vec<Tenant> {
    let mut tenants = Vec::new();
    for (storage, Storage { length, .. }) in plan.storages.iter().enumerate() {
        let mut tensors = plan.tensors.iter().filter(|tensor| tensor.storage == storage);
        let passing = tensors.all(|tensor| tensor.role == Role::Activation && tensor.length() == *length);
        let uses = plan.steps.iter().enumerate().flat_map(|(step, _)| {
            uses(plan, step).filter(|(used, _)| *used == storage).map(move |(_, access)| (step, access))
        });
        let uses: Vec<_> = uses.collect();
        // What is read at first comes from the step before, or from the host.
        if let (true, [(first, Access::Write), ..], Some((last, _))) = (passing, uses.as_slice(), uses.last()) {
            let kept = storage == plan.tensor(plan.logits).storage;
            let last = if kept { plan.steps.len() } else { *last };
            tenants.push(Tenant { storage, length: *length, life: *first..=last });
        }
    }
    tenants.sort_by_key(|tenant| *tenant.life.start());
    tenants
}

/// The storages that a step of a plan has to do with.
fn uses(plan: &Plan, step: usize) -> impl Iterator<Item = (usize, Access)> {
    let PlanStep { op, operands, .. } = &plan.steps[step];
    op.operands().into_iter().zip(operands).map(|(operand, &id)| (plan.tensor(id).storage, operand.access))
}

/// Pairs of storages of which an op writes one and uses the other, the smaller first.
fn apart(plan: &Plan) -> HashSet<(usize, usize)> {
    let mut pairs = HashSet::new();
    for step in 0..plan.steps.len() {
        let uses: Vec<_> = uses(plan, step).collect();
        for (written, _) in uses.iter().filter(|(_, access)| *access != Access::Read) {
            pairs.extend(uses.iter().map(|(other, _)| (*written.min(other), *written.max(other))));
        }
    }
    pairs
}

/// The first place for a tenant between those of `others` who live at the same time.
fn lowest_gap(tenant: &Tenant, others: &[&Tenant], places: &[Place]) -> usize {
    let meets = |other: &&&Tenant| tenant.life.start() <= other.life.end() && other.life.start() <= tenant.life.end();
    let mut taken: Vec<_> = others
        .iter()
        .filter(meets)
        .map(|other| (places[other.storage].offset, places[other.storage].offset + other.length))
        .collect();
    taken.sort_unstable();
    let mut offset = 0;
    for (start, end) in taken {
        if offset + tenant.length <= start {
            break;
        }
        offset = offset.max(end.next_multiple_of(OFFSET_ALIGNMENT as usize / 4));
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Fusion, Images, Network, Noise, Optimiser, PlanRequest};

    fn plans(model: &str, batch: u32, fusion: Fusion) -> [Plan; 2] {
        let network = Network::load(model).unwrap();
        let images = Images::streamed([3, 32, 32], 10, batch);
        let request = PlanRequest { network: &network, images, batch, max_bytes: u64::MAX, fusion };
        let optimiser = Optimiser { momentum: 0.9, weight_decay: 0.0, nesterov: false, label_smoothing: 0.0 };
        [request.training(&optimiser, &Noise::default(), 1).unwrap(), request.inference().unwrap()]
    }

    /// What an op reads is what an earlier one wrote there, every binding is where one may be, and no buffer is bound both ways.
    fn walk(plan: &Plan, sharing: &Sharing) {
        let range = |storage: usize| {
            let Place { buffer, offset } = sharing.places[storage];
            (buffer, offset..offset + plan.storages[storage].length)
        };
        // Who wrote last, element by element.
        let mut owners: Vec<Vec<Option<usize>>> = sharing.buffers.iter().map(|&length| vec![None; length]).collect();
        let written: HashSet<usize> = (0..plan.steps.len())
            .flat_map(|step| uses(plan, step))
            .filter(|use_| use_.1 == Access::Write)
            .map(|use_| use_.0)
            .collect();
        for step in 0..plan.steps.len() {
            let label = &plan.steps[step].label;
            for (storage, access) in uses(plan, step) {
                let (buffer, elements) = range(storage);
                assert!(elements.start.is_multiple_of(64), "{label}");
                if access == Access::Write {
                    owners[buffer][elements].fill(Some(storage));
                } else if written.contains(&storage)
                    && plan.tensors.iter().any(|tensor| tensor.storage == storage && tensor.role == Role::Activation)
                {
                    assert!(
                        owners[buffer][elements].iter().all(|owner| *owner == Some(storage)),
                        "{label}: {}",
                        plan.storages[storage].name
                    );
                }
                for (other, other_access) in uses(plan, step).filter(|(other, _)| *other != storage) {
                    let both_ways = (access == Access::Read) != (other_access == Access::Read);
                    assert!(!both_ways || range(other).0 != buffer, "{label}");
                }
            }
        }
        let (buffer, elements) = range(plan.tensor(plan.logits).storage);
        assert!(owners[buffer][elements].iter().all(|owner| *owner == Some(plan.tensor(plan.logits).storage)));
    }

    #[test]
    fn nothing_is_overwritten_before_it_was_read() {
        for (model, batch, fusion) in [
            ("lenet", 4, Fusion::Full),
            ("lenet", 4, Fusion::Layers),
            ("lenet", 3, Fusion::None),
            ("wide", 2, Fusion::Full),
            ("wide", 128, Fusion::None),
        ] {
            for plan in plans(model, batch, fusion) {
                walk(&plan, &Sharing::none(&plan));
                let sharing = Sharing::of(&plan, u64::MAX);
                walk(&plan, &sharing);
                assert!(sharing.bytes() < plan.bytes(), "{model}");
                assert_eq!(Sharing::none(&plan).bytes(), plan.bytes());
            }
        }
    }

    #[test]
    fn what_outlives_a_step_and_what_the_host_looks_at_is_alone() {
        let [training, inference] = plans("lenet", 4, Fusion::None);
        let sharing = Sharing::of(&training, u64::MAX);
        for name in ["records_0", "order", "parameters", "gradients", "momentum", "losses", "status"] {
            assert!(!sharing.is_shared(training.tensor(training.find(name).unwrap()).storage), "{name}");
        }
        assert!(sharing.is_shared(training.tensor(training.find("conv1.output").unwrap()).storage));
        // A forward pass needs one op's input and output at a time, here those of relu1; what pool1 writes together is apart.
        let bytes =
            |plan: &Plan, name: &str| 4 * plan.storages[plan.tensor(plan.find(name).unwrap()).storage].length as u64;
        let lasting: u64 = ["records_0", "order", "parameters"].iter().map(|name| bytes(&inference, name)).sum();
        let passing = Sharing::of(&inference, u64::MAX).bytes() - lasting;
        let pair = ["conv1.output", "relu1.output", "pool1.argmax"].iter().map(|name| bytes(&inference, name)).sum();
        assert!((pair..pair + 1024).contains(&passing), "{passing} bytes, {pair} for those three");
    }

    #[test]
    fn no_buffer_grows_beyond_what_may_be_bound() {
        let [training, _] = plans("lenet", 64, Fusion::Full);
        let largest = training.storages.iter().map(|storage| storage.length).max().unwrap();
        let sharing = Sharing::of(&training, 4 * largest as u64);
        walk(&training, &sharing);
        assert!(sharing.buffers.iter().all(|&length| length <= largest));
    }
}
