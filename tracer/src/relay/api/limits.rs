//! How many requests run at once, in total and for a user.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::status::Failure;

/// Seconds after which a client tries again.
const RETRY_SECONDS: u32 = 5;

/// Places for requests of one sort.
#[derive(Clone, Debug)]
pub struct Places {
    sort: &'static str,
    total: usize,
    per_user: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_user: HashMap<String, usize>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    user: String,
    taken: Arc<Mutex<Taken>>,
}

impl Places {
    /// Places for `sort`, a plural.
    pub fn new(sort: &'static str, total: usize, per_user: usize) -> Places {
        Places {
            sort,
            total,
            per_user,
            taken: Arc::default(),
        }
    }

    /// A place for a user's request.
    ///
    /// # Errors
    /// 429 if all are taken.
    pub fn take(&self, user: &str) -> Result<Place, Failure> {
        let mut taken = self.taken.lock();
        let own = taken.by_user.get(user).copied().unwrap_or_default();
        let (limit, whose) = match (taken.total >= self.total, own >= self.per_user) {
            (_, true) => (self.per_user, "this user"),
            (true, false) => (self.total, "all users"),
            (false, false) => {
                taken.total += 1;
                *taken.by_user.entry(user.to_owned()).or_default() += 1;
                return Ok(Place {
                    user: user.to_owned(),
                    taken: Arc::clone(&self.taken),
                });
            }
        };
        Err(Failure::too_many(
            format!(
                "this relay already serves {limit} {} of {whose}, its maximum; try again",
                self.sort
            ),
            RETRY_SECONDS,
        ))
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.taken.lock().total
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        taken.total = taken.total.saturating_sub(1);
        if let Some(own) = taken.by_user.get_mut(&self.user) {
            *own -= 1;
            if *own == 0 {
                taken.by_user.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_cannot_take_all_places() {
        let places = Places::new("watches", 3, 2);
        let first = places.take("jane").expect("free");
        let _second = places.take("jane").expect("free");
        let refused = places.take("jane").expect_err("her maximum");
        assert_eq!((refused.code, refused.retry_after), (429, Some(5)));
        let _third = places.take("joe").expect("free");
        assert!(places.take("ann").is_err(), "all are taken");
        drop(first);
        assert_eq!(places.taken(), 2);
        assert!(places.take("ann").is_ok());
        assert_eq!(places.taken.lock().by_user.len(), 2);
    }
}
