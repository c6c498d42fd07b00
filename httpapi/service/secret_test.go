package service

import (
	"testing"

	"scaleout/fsm/catalog"
	"scaleout/fsm/command"
	"scaleout/fsm/fsmtest"
	"scaleout/fsm/sqltype"
)

// Secrets of a grant are opened, and whatever holds them keeps them to itself; so does a call.
func TestSecretsAreHidden(t *testing.T) {
	const secret = "hunter2"
	n := &node{world: fsmtest.NewWorld(t), leads: true}
	s := n.service(t)
	n.world.Deploy(fsmtest.Project("nightly"))
	id := n.world.Create(fsmtest.Bob, "")
	n.world.Ok(fsmtest.Bob, "set_execution_parameter_value",
		`{"execution_id":%d,"object_type":20,"parameter_name":"Secret","parameter_value":%q}`, id, secret)
	n.world.Ok(fsmtest.Bob, "set_execution_parameter_value",
		`{"execution_id":%d,"object_type":30,"parameter_name":"Pin","parameter_value":1234}`, id)
	e, _ := n.Reader().Execution(id)
	v, _ := n.Reader().Version(e.Version)
	var err error
	sealed := command.Grant{ExecutionID: e.ID, Package: e.Package, ProjectBlob: v.Blob}
	sealed.Parameters, sealed.Options, _ = catalog.GrantParameters(v, e)
	sealed.ProjectPassword, err = n.world.Seal(sqltype.NewSecret(secret), catalog.SealNamePassword(v.Blob))
	if err != nil {
		t.Fatal(err)
	}

	g, err := s.open(&sealed)
	if err != nil {
		t.Fatal(err)
	}
	if g.Password.Reveal() != secret || len(g.Opened) != len(sealed.Parameters)+len(sealed.Options) {
		t.Fatalf("password %q, %d values", g.Password.Reveal(), len(g.Opened))
	}
	want := map[string]string{"Secret": secret, "Pin": "1234"}
	for i := range sealed.Parameters {
		if p := &sealed.Parameters[i]; g.Opened[i].Reveal() != want[p.Name] {
			t.Errorf("%s opens as %q, want %q", p.Name, g.Opened[i].Reveal(), want[p.Name])
		}
	}
	fsmtest.Hides(t, g, secret)
	fsmtest.Hides(t, &g, secret)
	fsmtest.Hides(t, Exchanged{Grants: []Grant{g}}, secret)
	fsmtest.Hides(t, call(t, "deploy_project", `{"project_password":"`+secret+`"}`, ""), secret)
}
