//! Factories: what their products are given, whom those could tell, whose they are, what they cost, and what lies beyond their reach.

mod bank;
mod before;
mod constructor;
mod given;
mod inside;
mod judge;
mod killed;
mod making;
mod many;
mod marks;
mod programs;
mod remote;
mod replaced;
mod scarce;
mod ways_out;
