//! Factories: what their products are given, whom those could tell, and whose they are.

mod bank;
mod constructor;
mod given;
mod judge;
mod making;
mod marks;
mod programs;
mod remote;
