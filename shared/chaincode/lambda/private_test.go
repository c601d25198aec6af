package lambda_test

import (
	"testing"
)

// TestPrivateData: functions do not carry private data yet. A contract that asks for it is told, and nothing of it is lost silently.
func TestPrivateData(t *testing.T) {
	t.Parallel()
	functionCode(t, "probe")
	c := newCloud(t)
	c.put(t, "ch", "mine", "k", "value")
	host := c.deploy("probe", "ch", "mine")
	for _, op := range []string{
		`{"op":"PutPrivateData","collection":"c","key":"k","value":"x","must":true}`,
		`{"op":"GetPrivateData","collection":"c","key":"k","must":true}`,
		`{"op":"GetPrivateDataHash","collection":"c","key":"k","must":true}`,
		`{"op":"DelPrivateData","collection":"c","key":"k","must":true}`,
	} {
		result, err := execute(t, host, c.invocationOf(t, "run", "["+op+"]"))
		if err == nil && result.Response.Status < 400 {
			t.Errorf("%s: response %v", op, result.Response)
		}
	}
}
