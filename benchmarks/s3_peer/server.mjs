// @tus/server over an S3Store, without hooks and logging. Its arguments are the endpoint, the bucket, the keys and the
// size of a part. It prints its endpoint in the same format as tusd-py.
import { S3Store } from '@tus/s3-store';
import { Server } from '@tus/server';

const [endpoint, bucket, accessKeyId, secretAccessKey, partSize] = process.argv.slice(2);
const datastore = new S3Store({
  partSize: Number(partSize),
  s3ClientConfig: {
    bucket,
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey },
  },
});
const server = new Server({ path: '/files', datastore });
const listening = server.listen({ host: '127.0.0.1', port: 0 }, () => {
  console.log(`tus endpoint  http://127.0.0.1:${listening.address().port}/files/`);
});
