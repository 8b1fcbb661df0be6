//! Factories: what their products are given, whom those could tell, whose they are, what they cost, and what lies beyond their reach.

mod bank;
mod before;
mod constructor;
mod given;
mod inside;
mod judge;
mod making;
mod marks;
mod programs;
mod remote;
mod ways_out;
