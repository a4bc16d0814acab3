// Loading a chunk, patiently: browsers abort a fetch when the machine's networks change, and on a box that starts
// containers they change all the time.
export function patient<T>(load: () => Promise<T>, tries = 3): () => Promise<T> {
  return async () => {
    for (let left = tries; ; left -= 1) {
      try {
        return await load();
      } catch (error) {
        if (left <= 1) throw error;
        await new Promise((resolve) => setTimeout(resolve, 400));
      }
    }
  };
}
