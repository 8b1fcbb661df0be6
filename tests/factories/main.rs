//! Factories: what their products are given, whom those could tell, and whose they are.

mod constructor;
mod judge;
mod making;
mod marks;
mod remote;
