//! Room for parsers: they recurse as deep as their text nests, and the text comes from users.

/// A longer condition is refused; one from a compiler with a hundred branches is well below.
pub const MAX_EXPRESSION: usize = 16 * 1024;
/// Enough for the deepest expression of the greatest length. It is address space, paid for only where touched.
const STACK: usize = 256 * 1024 * 1024;

/// Calls `f`, which parses an expression (CEL) of `length` bytes, with stack enough for it.
/// `None` when the expression is too long, or there is no room for the stack.
///
/// A hundred brackets can use up an ordinary stack, so this holds for short expressions too; a thread costs less
/// than the parse.
pub fn with_room_for_expression<T: Send>(length: usize, f: impl FnOnce() -> T + Send) -> Option<T> {
    if length > MAX_EXPRESSION {
        return None;
    }
    with_room(f)
}

/// Calls `f` with a large stack. `None` when there is no room for one.
pub(super) fn with_room<T: Send>(f: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("parser".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, f)
            .ok()?
            .join()
            .ok()
    })
}
