// Drives the emulator with cos-nodejs-sdk-v5, which has no methods for CI: cos.request sends any call.
// Settings come as JSON in CI_EMULATOR; node_modules is looked for in the working directory.
'use strict';

const assert = require('node:assert/strict');
const crypto = require('node:crypto');
const path = require('node:path');

const COS = require(path.join(process.cwd(), 'node_modules', 'cos-nodejs-sdk-v5'));

const settings = JSON.parse(process.env.CI_EMULATOR);
const { Bucket, Region } = settings;
const ciHost = `${Bucket}.ci.${Region}.myqcloud.com`;

function client(options) {
  return new COS({
    SecretId: settings.SecretId,
    SecretKey: settings.SecretKey,
    Protocol: 'http:',
    ...options,
  });
}

const body = (key) => `<Request><Tag>VoiceSeparate</Tag><Input><Object>${key}</Object></Input><Operation>
  <VoiceSeparate><AudioMode>IsAudio</AudioMode></VoiceSeparate>
  <Output><Region>${Region}</Region><Bucket>${Bucket}</Bucket><AuObject>out/\${jobid}.\${ext}</AuObject></Output>
  <UserData>from node</UserData></Operation></Request>`;

const list = (value) => (value === undefined ? [] : [].concat(value));

// Calls to CI: the virtual host with Ip, or the address itself with Domain
async function ci(cos, way, call) {
  const Url = way === 'ip' ? `http://${ciHost}/${call.Key}` : `http://${settings.Address}/${call.Key}`;
  return cos.request({ Bucket, Region, Url, ...call });
}

async function refused(promise, status, code) {
  await assert.rejects(promise, (error) => {
    assert.equal(error.statusCode, status);
    assert.equal(error.error && error.error.Code, code);
    return true;
  });
}

async function objects(cos, key) {
  const Body = Buffer.from('a b+c ü');
  const put = await cos.putObject({ Bucket, Region, Key: key, Body });
  const md5 = crypto.createHash('md5').update(Body).digest('hex');
  assert.equal(put.ETag, `"${md5}"`);
  const head = await cos.headObject({ Bucket, Region, Key: key });
  assert.equal(head.headers['content-length'], String(Body.length));
  const got = await cos.getObject({ Bucket, Region, Key: key });
  assert.deepEqual(got.Body, Body);
  const part = await cos.getObject({ Bucket, Region, Key: key, Range: 'bytes=2-3' });
  assert.deepEqual(part.Body, Body.subarray(2, 4));
  await cos.deleteObject({ Bucket, Region, Key: key });
  await assert.rejects(cos.headObject({ Bucket, Region, Key: key }), { statusCode: 404 });
  await refused(cos.getObject({ Bucket, Region, Key: key }), 404, 'NoSuchKey');
}

async function jobs(cos, way) {
  const post = { Method: 'POST', Key: 'jobs', Body: body('in/none.mp3'), ContentType: 'application/xml' };
  const accepted = await ci(cos, way, post);
  assert.equal(accepted.statusCode, 200);
  const job = list(accepted.Response.JobsDetail)[0];
  assert.match(job.JobId, /^j[0-9a-f]{32}$/);
  assert.ok(accepted.headers['x-ci-request-id']);

  const described = await ci(cos, way, { Method: 'GET', Key: `jobs/${job.JobId},junknown` });
  assert.equal(list(described.Response.JobsDetail)[0].JobId, job.JobId);
  assert.equal(list(described.Response.JobsDetail)[0].Operation.UserData, 'from node');
  assert.deepEqual(list(described.Response.NonExistJobIds), ['junknown']);

  const Query = { tag: 'VoiceSeparate', states: 'Submitted,Running', size: '5' };
  const listed = await ci(cos, way, { Method: 'GET', Key: 'jobs', Query });
  assert.ok(list(listed.Response.JobsDetail).some((one) => one.JobId === job.JobId));

  const cancel = { Method: 'PUT', Key: `jobs/${job.JobId}`, Action: 'cancel' };
  assert.equal((await ci(cos, way, cancel)).statusCode, 200);
  const after = await ci(cos, way, { Method: 'GET', Key: `jobs/${job.JobId}` });
  assert.equal(list(after.Response.JobsDetail)[0].State, 'Cancel');

  await refused(ci(cos, way, cancel), 400, 'InvalidArgument');
  await refused(ci(cos, way, { ...post, Body: '<Request><Tag>' }), 400, 'InvalidContent');
  await refused(ci(cos, way, { ...post, Body: body('') }), 400, 'InvalidArgument');
  await refused(ci(cos, way, { Method: 'GET', Key: 'jobs', Query: { tag: 'Nothing' } }), 400, 'InvalidArgument');
}

async function administration(cos, way) {
  for (const Key of ['template', 'queue', 'asrqueue']) {
    const answer = await ci(cos, way, { Method: 'GET', Key, Query: { pageNumber: '1', pageSize: '10' } });
    assert.equal(answer.statusCode, 200);
    assert.ok(answer.Response.RequestId);
  }
}

// The SDK repeats a POST after a 5xx: the fault plan lets the first one act and answer 500
async function doubled(cos, way) {
  const post = { Method: 'POST', Key: 'jobs', Body: body(`in/doubled-${way}.mp3`) };
  assert.equal((await ci(cos, way, post)).statusCode, 200);
}

async function main() {
  const ways = { ip: { Ip: settings.Address }, domain: { Domain: settings.Address } };
  for (const [way, options] of Object.entries(ways)) {
    const cos = client(options);
    await objects(cos, `in/node ${way}+ü.bin`);
    await jobs(cos, way);
    await administration(cos, way);
    await doubled(cos, way);
    const wrong = client({ ...options, SecretKey: 'wrong' });
    await refused(ci(wrong, way, { Method: 'GET', Key: 'jobs/j1' }), 401, 'InvalidAuthorization');
    console.log(`${way}: ok`);
  }
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
