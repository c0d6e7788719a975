//! Control flow: labels and branches, and loops and conditions written as closures.
//!
//! The closures return whatever they like, a `Result` for instance, and their value comes back.

use std::sync::Arc;

use crate::builder::KernelBuilder;
use crate::operand::{Label, Src};
use crate::register::{B32, Pred, R};

impl KernelBuilder {
    /// A label that no other label of the kernel equals; `hint` makes it readable.
    pub fn label(&mut self, hint: &str) -> Label {
        let index = self.next_label_index();
        Label(Arc::from(format!("{}_{index}", hint.to_uppercase())))
    }

    /// Branches to `label` go on here.
    pub fn place(&mut self, label: &Label) {
        self.push_label(label.clone());
    }

    /// Goes to `label` in threads where `pred` holds.
    pub fn bra_if(&mut self, pred: R<Pred>, label: &Label) {
        self.when(pred, |k| k.bra(label.clone()));
    }

    /// Goes to `label` in threads where `pred` does not hold.
    pub fn bra_unless(&mut self, pred: R<Pred>, label: &Label) {
        self.unless(pred, |k| k.bra(label.clone()));
    }

    /// Runs `then` in threads where `pred` holds. For a few instructions `when` is faster.
    pub fn if_<T>(&mut self, pred: R<Pred>, then: impl FnOnce(&mut Self) -> T) -> T {
        let end = self.label("end_if");
        self.bra_unless(pred, &end);
        let result = then(self);
        self.place(&end);
        result
    }

    /// Runs `then` in threads where `pred` holds, `otherwise` in the others.
    pub fn if_else<T, U>(
        &mut self,
        pred: R<Pred>,
        then: impl FnOnce(&mut Self) -> T,
        otherwise: impl FnOnce(&mut Self) -> U,
    ) -> (T, U) {
        let (else_, end) = (self.label("else"), self.label("end_if"));
        self.bra_unless(pred, &else_);
        let first = then(self);
        self.bra(end.clone());
        self.place(&else_);
        let second = otherwise(self);
        self.place(&end);
        (first, second)
    }

    /// Runs `body` for `i = start, start + step, ..` below `end`, all u32. `end + step` must not pass 2^32.
    ///
    /// Registers that the body changes are made before and written with `set`.
    pub fn for_u32<T>(
        &mut self,
        start: impl Into<Src<B32>>,
        end: impl Into<Src<B32>>,
        step: impl Into<Src<B32>>,
        body: impl FnOnce(&mut Self, R<B32>) -> T,
    ) -> T {
        let (end, step) = (end.into(), step.into());
        let (head, done) = (self.label("for"), self.label("end_for"));
        let i = self.mov_b32(start);
        let none = self.setp_ge_u32(i, end);
        self.bra_if(none, &done);
        self.place(&head);
        let result = body(self, i);
        self.set(i).add_u32(i, step);
        let more = self.setp_lt_u32(i, end);
        self.bra_if(more, &head);
        self.place(&done);
        result
    }

    /// Runs `body` again and again until a branch to the label that it is given, which stands after the loop.
    pub fn loop_<T>(&mut self, body: impl FnOnce(&mut Self, &Label) -> T) -> T {
        let (head, done) = (self.label("loop"), self.label("end_loop"));
        self.place(&head);
        let result = body(self, &done);
        self.bra(head);
        self.place(&done);
        result
    }

    /// Runs `body` once, and again as long as the predicate that it returns holds.
    pub fn do_while(&mut self, body: impl FnOnce(&mut Self) -> R<Pred>) {
        let head = self.label("loop");
        self.place(&head);
        let again = body(self);
        self.bra_if(again, &head);
    }
}
