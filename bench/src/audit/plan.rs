//! The actions of each client and their times, decided by the seed before anything is posted.

use std::time::Duration;

use fastrand::Rng;
use uuid::Uuid;

/// The n of small jobs: quick ones, and some that take a thread of their own.
const SMALL: [u64; 12] = [0, 1, 2, 10, 90, 93, 186, 187, 1000, 2000, 2001, 100_000];
/// The n of long jobs. From about 5 million on, their values are longer than 1 MiB and come in parts;
/// the last is long enough to be killed while it is computed.
const LONG: [u64; 6] = [
    1_000_001, 2_000_000, 5_000_000, 6_000_000, 10_000_000, 40_000_000,
];
/// The largest n of a public job. Every socket receives its parts.
const MAX_PUBLIC_N: u64 = 6_000_000;
/// One in how many jobs is posted again although it was accepted.
const REPEAT_ONE_IN: u64 = 25;
/// How long after the first time it is posted again, at most.
const REPEAT_WITHIN: Duration = Duration::from_secs(20);
/// How often a client's connection to its socket is cut, on average.
const CUT_EVERY: Duration = Duration::from_secs(30);

/// How much is posted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) seed: u64,
    pub(super) private_clients: usize,
    pub(super) public_clients: usize,
    /// How many jobs all clients post in a second.
    pub(super) rate: u64,
    /// How long jobs are posted.
    pub(super) posting: Duration,
    /// How often one of the jobs is a long one.
    pub(super) long_every: Duration,
}

/// The actions of one client, in the order of time. Times count from the start.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) posts: Vec<Post>,
    /// When the connection to the socket is cut.
    pub(super) cuts: Vec<Duration>,
}

/// A POST that is due at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Post {
    pub(super) at: Duration,
    /// The number of the job, counted over all clients.
    pub(super) job: usize,
    pub(super) n: u64,
    /// Whether the same job has been posted before.
    pub(super) repeats: bool,
}

impl Size {
    pub(super) fn clients(&self) -> usize {
        self.private_clients + self.public_clients
    }

    /// Whether this client's jobs are private. The private clients come first.
    pub(super) fn is_private(&self, client: usize) -> bool {
        client < self.private_clients
    }

    /// A plan for each client.
    pub(super) fn plans(&self) -> Vec<Plan> {
        let mut rng = Rng::with_seed(self.seed);
        let mut plans: Vec<Plan> = (0..self.clients()).map(|_| Plan::default()).collect();
        let mut next_long = self.long_every;
        // Each of them comes up once before one comes up again.
        let mut longs = Vec::new();
        for job in 0..self.jobs() {
            let at = self.due(job);
            let client = rng.usize(..plans.len());
            let long = at >= next_long;
            if long {
                next_long += self.long_every;
            }
            let n = if long {
                if longs.is_empty() {
                    longs = LONG.to_vec();
                    rng.shuffle(&mut longs);
                }
                let n = longs.pop().expect("filled above");
                self.bounded(client, n)
            } else {
                SMALL[rng.usize(..SMALL.len())]
            };
            let first = Post {
                at,
                job,
                n,
                repeats: false,
            };
            plans[client].posts.push(first);
            if rng.u64(..REPEAT_ONE_IN) == 0 {
                let within = REPEAT_WITHIN.min(self.posting - at);
                let at = at + within.mul_f64(rng.f64());
                plans[client].posts.push(Post {
                    at,
                    repeats: true,
                    ..first
                });
            }
        }
        for plan in &mut plans {
            plan.posts.sort_by_key(|post| post.at);
            let mut at = Duration::ZERO;
            loop {
                at += CUT_EVERY.mul_f64(2.0 * rng.f64());
                if at > self.posting {
                    break;
                }
                plan.cuts.push(at);
            }
        }
        plans
    }

    fn jobs(&self) -> usize {
        let jobs = self.posting.as_millis() * u128::from(self.rate) / 1000;
        usize::try_from(jobs).expect("a number of jobs that fits into memory")
    }

    fn due(&self, job: usize) -> Duration {
        Duration::from_nanos(job as u64 * 1_000_000_000 / self.rate)
    }

    fn bounded(&self, client: usize, n: u64) -> u64 {
        if self.is_private(client) {
            n
        } else {
            n.min(MAX_PUBLIC_N)
        }
    }
}

/// An id for each job. They do not depend on the seed, because a run with the same seed may follow
/// while the queue still knows the ids of the one before.
pub(super) fn ids(plans: &[Plan]) -> Vec<Uuid> {
    let jobs = plans
        .iter()
        .flat_map(|plan| &plan.posts)
        .map(|post| post.job + 1)
        .max();
    (0..jobs.unwrap_or(0)).map(|_| Uuid::now_v7()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size {
        seed: 7,
        private_clients: 3,
        public_clients: 2,
        rate: 50,
        posting: Duration::from_secs(60),
        long_every: Duration::from_secs(5),
    };

    fn firsts(plans: &[Plan]) -> Vec<Post> {
        let posts = plans.iter().flat_map(|plan| &plan.posts);
        let mut firsts: Vec<_> = posts.filter(|post| !post.repeats).copied().collect();
        firsts.sort_by_key(|post| post.job);
        firsts
    }

    #[test]
    fn the_same_seed_gives_the_same_plans() {
        assert_eq!(SIZE.plans(), SIZE.plans());
        assert_ne!(SIZE.plans(), Size { seed: 8, ..SIZE }.plans());
    }

    #[test]
    fn jobs_are_due_at_a_fixed_rate() {
        let firsts = firsts(&SIZE.plans());
        assert_eq!(firsts.len(), 3000);
        for (job, post) in firsts.iter().enumerate() {
            assert_eq!(
                (post.job, post.at),
                (job, Duration::from_millis(20 * job as u64))
            );
        }
    }

    #[test]
    fn long_jobs_and_repeats_are_among_them() {
        let plans = SIZE.plans();
        let long = firsts(&plans)
            .iter()
            .filter(|post| post.n > 1_000_000)
            .count();
        assert_eq!(long, 11);
        let posts = plans.iter().flat_map(|plan| &plan.posts);
        assert!(posts.filter(|post| post.repeats).count() > 50);
        for plan in &plans {
            assert!(plan.posts.is_sorted_by_key(|post| post.at));
            assert!(!plan.cuts.is_empty());
        }
        let public = &plans[SIZE.private_clients..];
        let posts = public.iter().flat_map(|plan| &plan.posts);
        assert!(posts.map(|post| post.n).max() <= Some(MAX_PUBLIC_N));
    }
}
