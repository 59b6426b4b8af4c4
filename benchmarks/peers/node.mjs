// @tus/server over a FileStore, without hooks and logging. It takes the data directory
// as its argument and prints its endpoint in the same format as tusd-py, so that the harness can read it.
import { FileStore } from '@tus/file-store';
import { Server } from '@tus/server';

const server = new Server({ path: '/files', datastore: new FileStore({ directory: process.argv[2] }) });
const listening = server.listen({ host: '127.0.0.1', port: 0 }, () => {
  console.log(`tus endpoint  http://127.0.0.1:${listening.address().port}/files/`);
});
