//! "Did you mean": the nearest known name by edit distance.

/// Names longer than this are not compared: nobody mistypes them, and the cost is the product of both lengths.
const LONGEST: usize = 64;

/// The candidate nearest to `name`, if it is near enough to be meant: a third of its length, at least one edit.
pub(crate) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if name.chars().count() > LONGEST {
        return None;
    }
    let limit = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment: insert, delete, replace, swap of neighbours.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut before_last: Vec<usize> = vec![0; right.len() + 1];
    let mut last: Vec<usize> = (0..=right.len()).collect();
    let mut left_before = None;
    for (i, l) in left.chars().enumerate() {
        let mut row = Vec::with_capacity(right.len() + 1);
        row.push(i + 1);
        for (j, r) in right.iter().enumerate() {
            let at = |row: &[usize], n: usize| row.get(n).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&last, j) + usize::from(l != *r))
                .min(at(&last, j + 1) + 1)
                .min(at(&row, j) + 1);
            let swapped = j > 0 && left_before == Some(*r) && right.get(j - 1) == Some(&l);
            if swapped {
                best = best.min(at(&before_last, j - 1) + 1);
            }
            row.push(best);
        }
        before_last = last;
        last = row;
        left_before = Some(l);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expected: Option<&str>) {
        assert_eq!(
            nearest(name, ["gate", "sweep", "hash", "record", "kernel.kptr_restrict"]),
            expected,
            "{name}"
        );
    }

    #[test]
    fn finds_what_was_meant() {
        check("gaet", Some("gate"));
        check("sweeps", Some("sweep"));
        check("recrod", Some("record"));
        check("kernel.kptr_restrit", Some("kernel.kptr_restrict"));
        check("mode", None);
        check("", None);
        check(&"x".repeat(10_000), None);
    }
}
