// At most one call in a while: the first at once, those in between as one more at the end of it. Pure but for the clock.
export function paced(action: () => void, ms: number): () => void {
  let waits: ReturnType<typeof setTimeout> | undefined;
  let again = false;
  const run = () => {
    action();
    waits = setTimeout(() => {
      waits = undefined;
      if (!again) return;
      again = false;
      run();
    }, ms);
  };
  return () => {
    if (waits === undefined) run();
    else again = true;
  };
}
